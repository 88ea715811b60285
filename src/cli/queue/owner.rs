//! Root takes on the identity of the directory's owner, so that whatever a command makes there is the daemon's to use.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::failure::Failure;

/// Where this is root and `dir` another user's, becomes that user for good. To be called before there is any other
/// thread: those that begin later are as this one.
///
/// # Errors
/// A root that may not (in a container without that right).
pub(in crate::cli) fn take_on(dir: &Path) -> Result<(), Failure> {
    // Where there is none, opening the store says so.
    let Ok(meta) = fs::metadata(dir) else {
        return Ok(());
    };
    if !geteuid().is_root() || meta.uid() == 0 {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid()));
    // The user goes last: only root may set the groups.
    set_thread_groups(&[])
        .and_then(|()| set_thread_res_gid(group, group, group))
        .and_then(|()| set_thread_res_uid(user, user, user))
        .map_err(|error| {
            Failure::failed(format!("cannot become {}: {error}", of(dir)))
                .help("run it as that user")
        })
}

/// The owner of `dir`, or of the closest folder above that can be looked at, as people know him.
pub(super) fn of(dir: &Path) -> String {
    let meta = dir.ancestors().find_map(|dir| fs::metadata(dir).ok());
    let Some(user) = meta.map(|meta| meta.uid()) else {
        return "its owner".to_owned();
    };
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(user)).then_some(name)
    });
    match name {
        Some(name) => format!("the user {name}"),
        None => format!("the user with the id {user}"),
    }
}
