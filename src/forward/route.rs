//! Where a record goes: topics, exchanges and routing keys from templates with placeholders. Pure.

mod template;

use std::collections::HashMap;
use std::sync::Arc;

use crate::reading::{Body, Catalogue, Description, Name, Record, Schema};
use crate::upstream::message::Address;
use template::Facts;
pub use template::{Escape, Placeholder, Template, TemplateError};

use super::settings::Routes;

/// Most schemas whose addresses are remembered; beyond, all are forgotten and resolved anew. A schema is one device's
/// scan class (a few hundred bytes), so this covers every gateway that a serial or Modbus network can feed.
const REMEMBERED: usize = 4_096;

/// The templates of an upstream, and the addresses they gave.
#[derive(Debug)]
pub struct Router {
    gateway: String,
    upstream: Name,
    escape: Escape,
    routes: Routes,
    /// By the places of the schema and of the point's name in it in memory, which are theirs as long as it is held here.
    remembered: HashMap<(usize, usize), (Arc<Schema>, Address)>,
}

impl Router {
    /// For the messages of `gateway` to `upstream`.
    pub fn new(gateway: &str, upstream: &Name, routes: Routes, escape: Escape) -> Self {
        Self {
            gateway: gateway.to_owned(),
            upstream: upstream.clone(),
            escape,
            routes,
            remembered: HashMap::new(),
        }
    }

    /// Where a record goes, or the message that carries only its `point`. Events know only their device's name: line and
    /// labels are those of the catalogue.
    pub fn address(
        &mut self,
        record: &Record,
        point: Option<&Name>,
        catalogue: &Catalogue,
    ) -> Address {
        match &record.body {
            Body::Scan(scan) => self.of_schema(&scan.schema, point),
            Body::Description(description) => self.of_description(description),
            Body::Event(event) => {
                let device = event.device.as_ref();
                let described = device.and_then(|device| catalogue.of(device));
                let facts = Facts {
                    line: described.map(|described| &described.line),
                    device,
                    labels: described.map_or(&[], |described| &described.labels),
                    ..self.facts()
                };
                self.resolve(&self.routes.event, &facts)
            }
        }
    }

    /// Where the description of a device goes.
    pub fn of_description(&self, description: &Description) -> Address {
        let facts = Facts {
            line: Some(&description.line),
            device: Some(&description.device),
            labels: &description.labels,
            ..self.facts()
        };
        self.resolve(&self.routes.describe, &facts)
    }

    /// Where it goes when a scan's schema stands for it.
    pub fn of_sketch(&self, schema: &Schema) -> Address {
        let facts = Facts {
            line: Some(&schema.line),
            device: Some(&schema.device),
            labels: &schema.labels,
            ..self.facts()
        };
        self.resolve(&self.routes.describe, &facts)
    }

    /// Where the gateway's own events go.
    pub fn of_gateway(&self) -> Address {
        self.resolve(&self.routes.event, &self.facts())
    }

    /// Where the state of the gateway goes, where that is told.
    pub fn of_status(&self) -> Option<Address> {
        let status = self.routes.status.as_ref()?;
        Some(self.resolve(status, &self.facts()))
    }

    fn of_schema(&mut self, schema: &Arc<Schema>, point: Option<&Name>) -> Address {
        let name = point.map_or(0, |point| std::ptr::from_ref(point).addr());
        let place = (Arc::as_ptr(schema).addr(), name);
        if let Some((_, address)) = self.remembered.get(&place) {
            return address.clone();
        }
        let facts = Facts {
            line: Some(&schema.line),
            device: Some(&schema.device),
            scan: Some(&schema.scan),
            point,
            labels: &schema.labels,
            ..self.facts()
        };
        let address = self.resolve(&self.routes.scan, &facts);
        if self.remembered.len() >= REMEMBERED {
            self.remembered.clear();
        }
        let entry = (Arc::clone(schema), address.clone());
        self.remembered.insert(place, entry);
        address
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            gateway: &self.gateway,
            upstream: &self.upstream,
            line: None,
            device: None,
            scan: None,
            point: None,
            labels: &[],
        }
    }

    fn resolve(&self, key: &Template, facts: &Facts<'_>) -> Address {
        Address {
            exchange: self.routes.exchange.resolve(facts, self.escape).into(),
            key: key.resolve(facts, self.escape).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::{Event, EventName, MapHash, Scan, Stamp, StreamId};

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn router(escape: Escape) -> Router {
        let template = |text| Template::parse(text).unwrap();
        let routes = Routes {
            exchange: template("ex-{upstream}"),
            scan: template("p/{gateway}/{label.area|none}/{line}/{device}/{scan}"),
            event: template("p/{gateway}/event/{device}/{label.area|none}"),
            describe: template("p/{device}/describe"),
            status: Some(template("p/{gateway}/status")),
        };
        Router::new("hall/2.x", &name("cloud"), routes, escape)
    }

    fn record(body: Body) -> Record {
        Record {
            stream: StreamId(1),
            seq: 1,
            device_seq: 1,
            stamp: Stamp::default(),
            body,
        }
    }

    fn scan(label: Option<&str>) -> Record {
        let schema = Schema {
            line: name("meters"),
            device: name("meter-3"),
            scan: name("slow"),
            labels: label
                .map(|label| ("area".to_owned(), label.to_owned()))
                .into_iter()
                .collect(),
            map: MapHash(1),
            points: Vec::new(),
        };
        record(Body::Scan(Scan {
            schema: Arc::new(schema),
            readings: Vec::new(),
            full: false,
        }))
    }

    #[test]
    fn scans_by_their_schema_also_when_remembered() {
        let mut router = router(Escape::Mqtt);
        let catalogue = Catalogue::default();
        let labelled = scan(Some("a+b/c#d"));
        for _ in 0..2 {
            let address = router.address(&labelled, None, &catalogue);
            assert_eq!(
                &*address.key,
                "p/hall%2F2.x/a%2Bb%2Fc%23d/meters/meter-3/slow"
            );
            assert_eq!(&*address.exchange, "ex-cloud");
            let address = router.address(&scan(None), None, &catalogue);
            assert_eq!(&*address.key, "p/hall%2F2.x/none/meters/meter-3/slow");
        }
    }

    #[test]
    fn events_take_line_and_labels_from_the_catalogue() {
        let description = Description {
            device: name("meter-3"),
            line: name("meters"),
            map: MapHash(1),
            title: None,
            labels: vec![("area".to_owned(), "press.1".to_owned())],
            points: Vec::new(),
        };
        let catalogue = Catalogue::new([Arc::new(description.clone())]);
        let mut router = router(Escape::Amqp);
        let event = Event::device(EventName::DeviceOffline, name("meter-3"));
        let address = router.address(&record(Body::Event(event)), None, &catalogue);
        assert_eq!(&*address.key, "p/hall/2%2Ex/event/meter-3/press%2E1");
        let event = Event::gateway(EventName::GatewayStarted);
        let address = router.address(&record(Body::Event(event)), None, &catalogue);
        assert_eq!(&*address.key, "p/hall/2%2Ex/event//none");
        assert_eq!(
            &*router.of_description(&description).key,
            "p/meter-3/describe"
        );
        assert_eq!(&*router.of_status().unwrap().key, "p/hall/2%2Ex/status");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut router = router(Escape::Mqtt);
        let all: Vec<_> = (0..REMEMBERED + 10).map(|_| scan(None)).collect();
        for record in &all {
            router.address(record, None, &Catalogue::default());
        }
        assert!(router.remembered.len() <= REMEMBERED);
    }
}
