//! What fjall's errors and panics mean for the store.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use fjall::LsmError;

use super::EngineError;

/// fjall panics where a thread of its own has, and on some damage; here that is an error like any other.
pub(super) fn guarded<T>(
    action: impl FnOnce() -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(action))
        .unwrap_or_else(|panic| Err(EngineError::Stopped(text_of(&*panic))))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic".to_owned())
}

impl From<fjall::Error> for EngineError {
    fn from(error: fjall::Error) -> Self {
        match error {
            fjall::Error::Io(error) | fjall::Error::Storage(LsmError::Io(error))
                if is_of_the_disk(&error) =>
            {
                error.into()
            }
            fjall::Error::Poisoned => Self::Stopped("an earlier error".to_owned()),
            fjall::Error::Locked => Self::Locked(PathBuf::from("the database")),
            error => Self::Damaged(error.to_string()),
        }
    }
}

impl From<LsmError> for EngineError {
    fn from(error: LsmError) -> Self {
        fjall::Error::Storage(error).into()
    }
}

/// Whether it may go away by itself: a file that is missing or too short is damage.
pub(super) fn is_of_the_disk(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, NotFound, UnexpectedEof};
    !matches!(
        error.kind(),
        NotFound | UnexpectedEof | InvalidData | InvalidInput
    )
}
