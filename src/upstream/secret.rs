//! A secret's text, read anew at each connection, so that it can be rotated.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use super::error::UpstreamError;
use super::settings::Secret;

/// Longest secret in bytes; a longer file was named by mistake.
const LONGEST: u64 = 64 * 1024;

impl Secret {
    /// Its text now. Blocking, but of one small file.
    ///
    /// # Errors
    /// [`UpstreamError::Secret`] names the place and the mend, never what stands there.
    pub fn read(&self) -> Result<String, UpstreamError> {
        self.read_in(|name| std::env::var_os(name))
            .map_err(UpstreamError::Secret)
    }

    fn read_in(&self, variable: impl Fn(&str) -> Option<OsString>) -> Result<String, String> {
        match self {
            Self::Plain(text) => Ok(text.clone()),
            Self::File(path) => read_file(path).map_err(|why| format!("{}: {why}", path.display())),
            Self::Env(name) => variable(name)
                .ok_or_else(|| format!("the environment has no {name}: set it for the service"))?
                .into_string()
                .map_err(|_| format!("{name} is no UTF-8")),
            Self::Credential(name) => {
                let folder = variable("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                    format!(
                        "no credential {name:?}, as there are none: run as a systemd service with LoadCredential={name}:FILE"
                    )
                })?;
                if !is_file_name(name) {
                    return Err(format!("credential {name:?} is no file name"));
                }
                read_file(&Path::new(&folder).join(name)).map_err(|why| {
                    format!(
                        "credential {name:?}: {why}: does the unit have LoadCredential={name}:FILE?"
                    )
                })
            }
        }
    }
}

fn is_file_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!(parts.next(), Some(Component::Normal(_))) && parts.next().is_none()
}

/// Without one trailing line end, which editors add and no password has.
fn read_file(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LONGEST {
        return Err(format!("longer than {LONGEST} bytes, so it is no password"));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "it is no UTF-8".to_owned())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &str) -> Option<OsString> {
        None
    }

    #[test]
    fn a_file_is_read_anew_without_its_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let secret = Secret::File(path.clone());
        for (content, text) in [
            ("a b\n", "a b"),
            ("c\r\n", "c"),
            ("d\n\n", "d\n"),
            (" e ", " e "),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(secret.read().unwrap(), text);
        }
        std::fs::write(&path, "\n").unwrap();
        assert!(
            secret
                .read()
                .unwrap_err()
                .to_string()
                .ends_with("it is empty")
        );
        std::fs::write(&path, vec![b'x'; 70_000]).unwrap();
        let error = secret.read().unwrap_err().to_string();
        assert!(
            error.contains("no password") && error.contains("password: /"),
            "{error}"
        );
        std::fs::remove_file(&path).unwrap();
        assert!(
            secret
                .read()
                .unwrap_err()
                .to_string()
                .contains("No such file")
        );
    }

    #[test]
    fn credentials_lie_below_the_folder_that_systemd_names() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cloud"), "secret\n").unwrap();
        let variable = |name: &str| {
            (name == "CREDENTIALS_DIRECTORY").then(|| folder.path().as_os_str().to_owned())
        };
        let read = |name: &str| Secret::Credential(name.to_owned()).read_in(variable);
        assert_eq!(read("cloud").unwrap(), "secret");
        assert!(
            read("other")
                .unwrap_err()
                .contains("LoadCredential=other:FILE")
        );
        assert!(read("../cloud").unwrap_err().contains("is no file name"));
        let error = Secret::Credential("cloud".to_owned())
            .read_in(nothing)
            .unwrap_err();
        assert!(error.contains("LoadCredential=cloud:FILE"), "{error}");
    }

    #[test]
    fn the_environment_and_plain_text() {
        let secret = Secret::Env("PASSWORD".to_owned());
        let variable = |name: &str| (name == "PASSWORD").then(|| OsString::from("x"));
        assert_eq!(secret.read_in(variable).unwrap(), "x");
        assert!(secret.read_in(nothing).unwrap_err().contains("no PASSWORD"));
        let plain = Secret::Plain("hush".to_owned());
        assert_eq!(plain.read().unwrap(), "hush");
        assert!(!format!("{plain:?}").contains("hush"));
    }
}
