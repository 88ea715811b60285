//! The other side: a subscription, for those who check what arrived.

use std::time::Duration;

use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, NetworkOptions, Packet, QoS, SubscribeReasonCode,
};
use tokio::time::timeout;

use super::access::Access;
use super::{CLOSE_TIMEOUT, OPEN_TIMEOUT, v3};
use crate::upstream::error::UpstreamError;
use crate::upstream::subscription::{Arrival, MqttFilter, Reach};

/// Largest message that is taken.
const MAX_INCOMING: usize = 16 << 20;
/// Requests that wait for the event loop: one subscription, one leave.
const REQUESTS: usize = 10;
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A subscription with quality of service 1, over MQTT 3.1.1, which every broker speaks. Its session outlives a broken
/// connection, so the broker keeps what comes meanwhile.
pub(in crate::upstream) struct Subscription {
    reach: Reach,
    client_id: String,
    topic: String,
    client: AsyncClient,
    events: EventLoop,
    subscribed: bool,
}

impl Subscription {
    /// Connects and subscribes, within 20 s.
    pub(in crate::upstream) async fn open(
        reach: &Reach,
        filter: &MqttFilter,
    ) -> Result<Self, UpstreamError> {
        let client_id = format!("forebay-verify-{:016x}", fastrand::u64(..));
        let (client, events) = connect(reach, &client_id, false)?;
        let mut subscription = Self {
            reach: reach.clone(),
            client_id,
            topic: filter.topic.clone(),
            client,
            events,
            subscribed: false,
        };
        timeout(OPEN_TIMEOUT, subscription.subscribed())
            .await
            .map_err(|_| UpstreamError::Timeout("subscribing", OPEN_TIMEOUT))??;
        Ok(subscription)
    }

    /// The next message. After an error the next call connects anew; it is for the caller to wait a little.
    pub(in crate::upstream) async fn next(&mut self) -> Result<Arrival, UpstreamError> {
        loop {
            match self.poll().await? {
                // What the broker kept for new subscribers was sent before we asked: a copy of an old record, no arrival.
                Some(Packet::Publish(publish)) if !publish.retain => {
                    return Ok(Arrival::Message(publish.payload));
                }
                Some(Packet::ConnAck(ack)) if !ack.session_present => {
                    self.subscribe()?;
                    return Ok(Arrival::Interrupted);
                }
                _ => {}
            }
        }
    }

    /// Ends the session, so that the broker keeps nothing for it, within a second.
    pub(in crate::upstream) async fn close(self) {
        drop(self.events);
        let Ok((client, mut events)) = connect(&self.reach, &self.client_id, true) else {
            return;
        };
        let leave = async {
            while let Ok(event) = events.poll().await {
                match event {
                    // Connecting with a clean session has ended the old one.
                    Event::Incoming(Packet::ConnAck(_)) if client.try_disconnect().is_err() => {
                        return;
                    }
                    Event::Outgoing(rumqttc::Outgoing::Disconnect) => return,
                    _ => {}
                }
            }
        };
        // Whoever is not reached keeps the session for as long as its own rules say.
        let _ = timeout(CLOSE_TIMEOUT, leave).await;
    }

    async fn subscribed(&mut self) -> Result<(), UpstreamError> {
        while !self.subscribed {
            if let Some(Packet::ConnAck(_)) = self.poll().await? {
                self.subscribe()?;
            }
        }
        Ok(())
    }

    async fn poll(&mut self) -> Result<Option<Packet>, UpstreamError> {
        match self.events.poll().await.map_err(v3::broken)? {
            Event::Incoming(Packet::SubAck(ack)) => {
                if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
                    let reason = format!("the broker refuses the subscription to {:?}", self.topic);
                    return Err(UpstreamError::NotAuthorised(reason));
                }
                self.subscribed = true;
                Ok(None)
            }
            Event::Incoming(packet) => Ok(Some(packet)),
            Event::Outgoing(_) => Ok(None),
        }
    }

    fn subscribe(&self) -> Result<(), UpstreamError> {
        let asked = self.client.try_subscribe(&self.topic, QoS::AtLeastOnce);
        asked.map_err(|_| UpstreamError::Rejected(format!("{:?} is no topic filter", self.topic)))
    }
}

fn connect(
    reach: &Reach,
    client_id: &str,
    clean: bool,
) -> Result<(AsyncClient, EventLoop), UpstreamError> {
    let access = Access::to(&reach.endpoint, reach.login.as_ref(), None)?;
    let mut options = MqttOptions::new(client_id, access.host, access.port);
    options
        .set_transport(access.transport)
        .set_clean_session(clean)
        .set_keep_alive(KEEP_ALIVE)
        .set_max_packet_size(MAX_INCOMING, MAX_INCOMING);
    if let Some((user, password)) = access.login {
        options.set_credentials(user, password);
    }
    let (client, mut events) = AsyncClient::new(options, REQUESTS);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(OPEN_TIMEOUT.as_secs());
    events.set_network_options(network);
    Ok((client, events))
}
