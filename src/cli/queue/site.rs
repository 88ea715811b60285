//! Which store a command is about, and what the configuration says of its upstreams.

use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::owner;
use crate::cli::DEFAULT_CONFIG;
use crate::config::{self, Config, Host, ThisMachine};
use crate::forward::settings::ForwarderSettings;
use crate::reading::Name;
use crate::store::inspect::Inspection;

/// Where the store is.
#[derive(Debug, clap::Args)]
pub(super) struct Where {
    /// Configuration file, which names the store and its upstreams [default: /etc/forebay/forebay.toml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The store itself, or the state directory it is in: needs no configuration
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// A store and what is configured around it.
pub(super) struct Site {
    /// The store's directory.
    pub(super) dir: PathBuf,
    /// `None`: only the directory was named.
    config: Option<Config>,
    /// The arguments that name this place, for hints; empty or beginning with a space.
    pub(super) arguments: String,
}

impl Where {
    /// Reads the configuration, where one is asked for or needed.
    ///
    /// # Errors
    /// It is bad, or missing.
    pub(super) fn find(&self) -> Result<Site, Failure> {
        let config = match (&self.config, &self.dir) {
            (None, Some(_)) => None,
            (path, _) => {
                let path = path.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG));
                Some(config::load(path).map_err(Failure::Configuration)?)
            }
        };
        let configured = config.as_ref().map(|config| config.store.dir.clone());
        let dir = match &self.dir {
            Some(dir) if dir.join("store/format").exists() => dir.join("store"),
            Some(dir) => dir.clone(),
            None => configured.unwrap_or_default(),
        };
        Ok(Site {
            dir,
            config,
            arguments: self.arguments(),
        })
    }

    fn arguments(&self) -> String {
        let mut text = String::new();
        for (option, path) in [("-c", &self.config), ("--dir", &self.dir)] {
            if let Some(path) = path {
                text.push_str(&format!(" {option} {}", path.display()));
            }
        }
        text
    }
}

impl Site {
    /// Opens the store to look at it, as its owner; says on standard error where it is not whole.
    ///
    /// # Errors
    /// See [`Inspection::open`].
    pub(super) fn inspect(&self) -> Result<Inspection, Failure> {
        owner::take_on(&self.dir)?;
        let inspection = Inspection::open(&self.dir)?;
        self.tell_ailing(&inspection);
        Ok(inspection)
    }

    /// Says on standard error that the store is not whole, where it is not.
    pub(super) fn tell_ailing(&self, inspection: &Inspection) {
        if let Some(why) = inspection.ailing() {
            super::say(&format!(
                "note: the store is not whole ({why}). What is intact in its files is shown, what was taken out of it \
                 lately perhaps too; nothing was changed. The daemon mends it when it next starts.\n"
            ));
        }
    }

    /// The gateway's id in messages: as configured, or else the machine's name.
    pub(super) fn gateway(&self) -> String {
        match &self.config {
            Some(config) => config.gateway.id.clone(),
            None => ThisMachine.host_name(),
        }
    }

    /// The most bytes that the store may take, where that is known.
    pub(super) fn max_size(&self) -> Option<u64> {
        Some(self.config.as_ref()?.store.max_size)
    }

    /// The upstreams of the configuration; `None`: there is none.
    pub(super) fn upstreams(&self) -> Option<&[ForwarderSettings]> {
        Some(&self.config.as_ref()?.upstreams)
    }

    /// An upstream of the configuration.
    pub(super) fn upstream(&self, name: &Name) -> Option<&ForwarderSettings> {
        let mut upstreams = self.upstreams()?.iter();
        upstreams.find(|upstream| upstream.name == *name)
    }

    /// Whether an upstream is configured; `None`: there is no configuration to ask.
    pub(super) fn is_configured(&self, name: &Name) -> Option<bool> {
        self.upstreams()?;
        Some(self.upstream(name).is_some())
    }
}

/// The name of an upstream as it was given.
///
/// # Errors
/// It is no name.
pub(super) fn upstream_name(text: &str) -> Result<Name, Failure> {
    Name::new(text).map_err(|error| {
        Failure::usage(
            format!("`{text}` is no name of an upstream: {error}"),
            "`forebay queue status` lists them",
        )
    })
}

/// That the store does not know an upstream.
pub(super) fn unknown(name: &Name, inspection: &Inspection) -> Failure {
    let known: Vec<&str> = inspection.upstreams().map(Name::as_str).collect();
    let help = if known.is_empty() {
        "it knows none: no upstream was ever configured on it".to_owned()
    } else {
        format!("it knows {}", known.join(", "))
    };
    Failure::failed(format!("the store does not know an upstream `{name}`")).help(help)
}
