//! Which of our messages is out under which packet id. Pure.

/// The packet ids of one connection, taken in turn, so that one that was just answered rests before it is used again.
pub(super) struct Flight {
    /// Token by packet id; index 0 is not used, as 0 is no packet id (MQTT 5.0, 2.2.1).
    tokens: Vec<Option<u64>>,
    last: u16,
    out: u16,
    most: u16,
}

impl Flight {
    /// Nothing is out, and no more than `most` may be; packet ids run from 1 to `ids`, or to `most` where that is more.
    pub(super) fn new(most: u16, ids: u16) -> Self {
        let most = most.max(1);
        Self {
            tokens: vec![None; usize::from(ids.max(most)) + 1],
            last: 0,
            out: 0,
            most,
        }
    }

    /// A packet id for the message of `token`; `None`: as many are out as may be.
    pub(super) fn take(&mut self, token: u64) -> Option<u16> {
        if self.out >= self.most {
            return None;
        }
        let ids = u16::try_from(self.tokens.len().saturating_sub(1)).unwrap_or(u16::MAX);
        let mut ids = (self.last.saturating_add(1)..=ids).chain(1..=self.last);
        let id = ids.find(|id| self.tokens.get(usize::from(*id)) == Some(&None))?;
        *self.tokens.get_mut(usize::from(id))? = Some(token);
        (self.last, self.out) = (id, self.out.saturating_add(1));
        Some(id)
    }

    /// The token of the message that went out under this id, which is free from now on; `None`: there is none.
    pub(super) fn answered(&mut self, id: u16) -> Option<u64> {
        let token = self
            .tokens
            .get_mut(usize::from(id))
            .and_then(Option::take)?;
        self.out = self.out.saturating_sub(1);
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_go_round_and_one_that_is_out_is_passed_over() {
        let mut flight = Flight::new(2, 3);
        assert_eq!((flight.take(10), flight.take(11)), (Some(1), Some(2)));
        assert_eq!(flight.take(12), None, "two are out");
        assert_eq!(flight.answered(2), Some(11));
        assert_eq!(flight.take(12), Some(3));
        assert_eq!(flight.answered(3), Some(12));
        assert_eq!(flight.take(13), Some(2), "1 is still out");
    }

    #[test]
    fn an_answer_to_what_is_not_out_has_no_token() {
        let mut flight = Flight::new(5, 5);
        assert_eq!(flight.answered(1), None);
        flight.take(10);
        assert_eq!((flight.answered(0), flight.answered(9)), (None, None));
        assert_eq!((flight.answered(1), flight.answered(1)), (Some(10), None));
    }

    proptest! {
        #[test]
        fn no_id_is_out_twice_and_room_is_used_up(
            most in 1u16..20,
            more in 0u16..20,
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..300),
        ) {
            let mut flight = Flight::new(most, most + more);
            let mut out: HashMap<u16, u64> = HashMap::new();
            for (token, (take, which)) in steps.into_iter().enumerate() {
                if take || out.is_empty() {
                    let id = flight.take(token as u64);
                    prop_assert_eq!(id.is_some(), out.len() < usize::from(most));
                    if let Some(id) = id {
                        prop_assert!(id >= 1 && id <= most + more);
                        prop_assert_eq!(out.insert(id, token as u64), None);
                    }
                } else {
                    let id = *out.keys().nth(which.index(out.len())).unwrap();
                    prop_assert_eq!(flight.answered(id), out.remove(&id));
                }
            }
        }
    }
}
