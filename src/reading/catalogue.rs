//! What the configured devices are at present.

use std::sync::Arc;

use super::{Description, Name};

/// The current description of each device. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Catalogue(Arc<[Arc<Description>]>);

impl Catalogue {
    /// Of these descriptions, one a device.
    pub fn new(descriptions: impl IntoIterator<Item = Arc<Description>>) -> Self {
        Self(descriptions.into_iter().collect())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Description>> {
        self.0.iter()
    }

    /// That of a device; `None`: it is not configured (any more).
    pub fn of(&self, device: &Name) -> Option<&Arc<Description>> {
        self.iter()
            .find(|description| description.device == *device)
    }
}
