//! Who subscribed to what, and what is retained. Pure but for the queues to the clients.

use std::collections::{BTreeMap, HashMap};

use rumqttc::mqttbytes::v4::Publish;
use rumqttc::mqttbytes::{QoS, matches, valid_filter};
use tokio::sync::mpsc;

/// Most retained topics; further ones are not kept.
const RETAINED: usize = 10_000;
/// Most subscriptions of a client; further ones are refused.
const SUBSCRIPTIONS: usize = 100;

/// The broker's memory.
#[derive(Debug, Default)]
pub(super) struct Topics {
    clients: HashMap<String, Client>,
    retained: BTreeMap<String, Publish>,
}

#[derive(Debug)]
struct Client {
    session: u64,
    filters: BTreeMap<String, QoS>,
    queue: mpsc::Sender<Publish>,
}

impl Topics {
    /// A client came; an older connection of the same id loses its queue, and ends by that.
    pub(super) fn join(&mut self, id: &str, session: u64, queue: mpsc::Sender<Publish>) {
        let client = Client {
            session,
            filters: BTreeMap::new(),
            queue,
        };
        self.clients.insert(id.to_owned(), client);
    }

    /// Its connection ended, if it still was the client's.
    pub(super) fn leave(&mut self, id: &str, session: u64) {
        if self
            .clients
            .get(id)
            .is_some_and(|client| client.session == session)
        {
            self.clients.remove(id);
        }
    }

    /// All connections ended.
    pub(super) fn leave_all(&mut self) {
        self.clients.clear();
    }

    /// Subscribes, and hands out what is retained there; whether it was taken.
    pub(super) fn subscribe(&mut self, id: &str, filter: &str, qos: QoS) -> bool {
        let Some(client) = self.clients.get_mut(id) else {
            return false;
        };
        let full = client.filters.len() >= SUBSCRIPTIONS && !client.filters.contains_key(filter);
        if full || !valid_filter(filter) {
            return false;
        }
        client.filters.insert(filter.to_owned(), qos);
        let kept: Vec<Publish> = self
            .retained
            .values()
            .filter(|publish| matches(&publish.topic, filter))
            .cloned()
            .collect();
        kept.into_iter()
            .all(|publish| self.hand_to(id, publish, qos))
    }

    /// Unsubscribes.
    pub(super) fn unsubscribe(&mut self, id: &str, filter: &str) {
        if let Some(client) = self.clients.get_mut(id) {
            client.filters.remove(filter);
        }
    }

    /// Hands a message to all who subscribed, and keeps it where it is to be retained (an empty one clears).
    pub(super) fn publish(&mut self, publish: &Publish) {
        if publish.retain {
            if publish.payload.is_empty() {
                self.retained.remove(&publish.topic);
            } else if self.retained.len() < RETAINED || self.retained.contains_key(&publish.topic) {
                self.retained.insert(publish.topic.clone(), publish.clone());
            }
        }
        let interested: Vec<(String, QoS)> = self
            .clients
            .iter()
            .filter_map(|(id, client)| {
                let qos = client.qos(&publish.topic)?;
                Some((id.clone(), qos))
            })
            .collect();
        for (id, qos) in interested {
            let mut publish = publish.clone();
            // To those already there it is no retained message (MQTT 3.1.1, 3.3.1.3).
            publish.retain = false;
            self.hand_to(&id, publish, qos);
        }
    }

    /// Whether the client took it. One that does not read loses its queue, and so its connection.
    fn hand_to(&mut self, id: &str, mut publish: Publish, qos: QoS) -> bool {
        if qos == QoS::AtMostOnce {
            publish.qos = qos;
        }
        let Some(client) = self.clients.get(id) else {
            return false;
        };
        let taken = client.queue.try_send(publish).is_ok();
        if !taken {
            self.clients.remove(id);
        }
        taken
    }
}

impl Client {
    /// The best quality of service of its subscriptions to this topic.
    fn qos(&self, topic: &str) -> Option<QoS> {
        let matching = self
            .filters
            .iter()
            .filter(|(filter, _)| matches(topic, filter));
        matching.map(|(_, qos)| *qos).max_by_key(|qos| *qos as u8)
    }
}
