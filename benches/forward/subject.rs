//! forebay: the forwarder of one upstream on a store, as the gateway runs it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay::forward::route::Template;
use forebay::upstream::settings::{
    AmqpSettings, Declare, Endpoint, MqttSettings, MqttVersion, Qos, Unroutable, UpstreamSettings,
};

use crate::backlog::Opened;
use crate::figures::{Figures, Start};
use crate::memory::{Forwarder, settings};
use crate::{PLACE, Target};

/// Between two looks at how far it is: little of a run.
const LOOK: Duration = Duration::from_millis(5);

/// Drains the store in `dir`.
pub(crate) fn drain(role: &str, target: &Target, dir: &Path) -> Figures {
    let opened = Opened::new(dir);
    let upstream = upstream(role, target);
    let figures = forebay::gateway::runtime().unwrap().block_on(async {
        let records = *opened.store.head().borrow();
        let mut settings = settings(upstream);
        let place = || Template::parse(PLACE).unwrap();
        (settings.routes.scan, settings.routes.event) = (place(), place());
        // All of it is backlog, and goes in one lane.
        settings.delivery.order = forebay::forward::settings::Order::OldestFirst;
        settings.historical_after = Duration::ZERO;
        let start = Start::now();
        let outlet = Arc::new(opened.inlet.clone());
        let forwarder = Forwarder::on(settings, opened.store.clone(), outlet);
        // In the gateway nobody wakes up at each change, and here nobody is to either.
        while forwarder.status.borrow().oldest_unconfirmed <= records {
            tokio::time::sleep(LOOK).await;
        }
        let figures = start.end(records as usize);
        forwarder.stop().await;
        figures
    });
    opened.close();
    figures
}

/// The upstream of this role.
pub(crate) fn upstream(role: &str, target: &Target) -> UpstreamSettings {
    let endpoints = vec![Endpoint {
        host: "127.0.0.1".to_owned(),
        port: target.port,
        tls: None,
    }];
    let (keep_alive, ack_timeout) = (Duration::from_secs(30), Duration::from_secs(30));
    let inflight = target.inflight;
    if role == "forebay-amqp" {
        return UpstreamSettings::Amqp(AmqpSettings {
            endpoints,
            vhost: target.vhost.clone(),
            login: None,
            external: false,
            declare: Declare::default(),
            unroutable: Unroutable::Wait,
            inflight,
            keep_alive,
            ack_timeout,
        });
    }
    UpstreamSettings::Mqtt(MqttSettings {
        endpoints,
        version: match role {
            "forebay-5" => MqttVersion::V5,
            _ => MqttVersion::V3,
        },
        client_id: "forebay".to_owned(),
        login: None,
        qos: Qos::AtLeastOnce,
        inflight,
        keep_alive,
        ack_timeout,
    })
}
