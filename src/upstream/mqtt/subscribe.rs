//! The other side: a subscription, for those who check what arrived.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Packet, PubAck, Subscribe, SubscribeReasonCode};
use tokio::time::timeout;

use super::hello::{Hello, read_login};
use super::wire::Wire;
use super::{CLOSE_TIMEOUT, OPEN_TIMEOUT, v3};
use crate::upstream::error::UpstreamError;
use crate::upstream::subscription::{Arrival, MqttFilter, Reach};

/// Largest message that is taken.
const MAX_INCOMING: usize = 16 << 20;
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Of the only packet of ours that is to be answered.
const SUBSCRIBE_ID: u16 = 1;

/// A subscription with quality of service 1, over MQTT 3.1.1, which every broker speaks. Its session outlives a broken
/// connection, so the broker keeps what comes meanwhile.
pub(in crate::upstream) struct Subscription {
    reach: Reach,
    client_id: String,
    topic: String,
    /// `None`: the connection is broken.
    wire: Option<Wire>,
    subscribed: bool,
    /// Messages that came in together.
    arrived: VecDeque<Bytes>,
}

impl Subscription {
    /// Connects and subscribes, within 20 s.
    pub(in crate::upstream) async fn open(
        reach: &Reach,
        filter: &MqttFilter,
    ) -> Result<Self, UpstreamError> {
        let mut subscription = Self {
            reach: reach.clone(),
            client_id: format!("forebay-verify-{:016x}", fastrand::u64(..)),
            topic: filter.topic.clone(),
            wire: None,
            subscribed: false,
            arrived: VecDeque::new(),
        };
        timeout(OPEN_TIMEOUT, subscription.subscribed())
            .await
            .map_err(|_| UpstreamError::Timeout("subscribing", OPEN_TIMEOUT))?
            .map_err(|error| error.without_certificate(&reach.endpoint))?;
        Ok(subscription)
    }

    /// The next message. After an error the next call connects anew; it is for the caller to wait a little. Cancel-safe.
    pub(in crate::upstream) async fn next(&mut self) -> Result<Arrival, UpstreamError> {
        loop {
            if let Some(payload) = self.arrived.pop_front() {
                return Ok(Arrival::Message(payload));
            }
            if self.wire.is_none() && !self.reconnect().await? {
                return Ok(Arrival::Interrupted);
            }
            self.step().await?;
        }
    }

    /// Ends the session, so that the broker keeps nothing for it, within a second.
    pub(in crate::upstream) async fn close(self) {
        drop(self.wire);
        let leave = async {
            // Connecting with a clean session ends the old one.
            if let Ok((wire, _)) = connect(&self.reach, &self.client_id, true).await {
                wire.leave().await;
            }
        };
        // Whoever is not reached keeps the session for as long as its own rules say.
        let _ = timeout(CLOSE_TIMEOUT, leave).await;
    }

    async fn subscribed(&mut self) -> Result<(), UpstreamError> {
        self.reconnect().await?;
        while !self.subscribed {
            self.step().await?;
        }
        Ok(())
    }

    /// Connects: whether the broker still knows the subscription, else it is asked for anew.
    async fn reconnect(&mut self) -> Result<bool, UpstreamError> {
        let connect = connect(&self.reach, &self.client_id, false);
        let (mut wire, present) = timeout(OPEN_TIMEOUT, connect)
            .await
            .map_err(|_| UpstreamError::Timeout("connecting", OPEN_TIMEOUT))??;
        let known = present && self.subscribed;
        if !known {
            self.subscribed = false;
            let mut subscribe = Subscribe::new(&self.topic, QoS::AtLeastOnce);
            subscribe.pkid = SUBSCRIBE_ID;
            wire.put(|out| subscribe.write(out))?;
        }
        self.wire = Some(wire);
        Ok(known)
    }

    /// Takes one packet in.
    async fn step(&mut self) -> Result<(), UpstreamError> {
        let Some(wire) = &mut self.wire else {
            return Ok(());
        };
        let packet = match wire.packet().await {
            Ok(packet) => packet,
            Err(error) => {
                self.wire = None;
                return Err(error);
            }
        };
        let taken = self.take(packet);
        if taken.is_err() {
            self.wire = None;
        }
        taken
    }

    fn take(&mut self, packet: BytesMut) -> Result<(), UpstreamError> {
        match v3::read(packet)? {
            Packet::Publish(publish) => {
                if let (Some(wire), QoS::AtLeastOnce) = (&mut self.wire, publish.qos) {
                    wire.put(|out| PubAck::new(publish.pkid).write(out))?;
                }
                // What the broker kept for new subscribers was sent before we asked: a copy of an old record, no arrival.
                if !publish.retain {
                    self.arrived.push_back(publish.payload);
                }
            }
            Packet::SubAck(ack) => {
                if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
                    let reason = format!("the broker refuses the subscription to {:?}", self.topic);
                    return Err(UpstreamError::NotAuthorised(reason));
                }
                self.subscribed = true;
            }
            _ => {}
        }
        Ok(())
    }
}

/// A connection that the broker consented to; whether it knows the session.
async fn connect(
    reach: &Reach,
    client_id: &str,
    clean: bool,
) -> Result<(Wire, bool), UpstreamError> {
    let hello = Hello {
        client_id: client_id.to_owned(),
        clean,
        keep_alive: KEEP_ALIVE,
        login: reach.login.as_ref().map(read_login).transpose()?,
        will: None,
    };
    let mut wire = Wire::open(&reach.endpoint, KEEP_ALIVE, MAX_INCOMING).await?;
    wire.put(|out| v3::connect(&hello, out))?;
    let (_, present) = v3::granted(wire.packet().await?)?;
    Ok((wire, present))
}
