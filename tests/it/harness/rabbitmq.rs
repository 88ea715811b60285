//! A real RabbitMQ: one shared by all tests, each in a virtual host of its own, or one's own to stop and freeze.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::certs::{Certs, Identity};
use super::collected::Collected;
use super::process::{free_port, listens, until};

/// How long a start may take on a loaded machine; alone it takes 5 s.
const BOUND: Duration = Duration::from_secs(180);

/// A running broker and a virtual host in it, which user guest may use.
pub struct RabbitMq {
    folder: PathBuf,
    vhost: String,
    port: u16,
    own: Option<TempDir>,
}

impl RabbitMq {
    /// The broker that all tests share, with a new virtual host. The first test starts it; it ends by itself some
    /// time after the last, or by `scripts/rabbitmq down`.
    pub fn shared() -> Self {
        let folder = std::env::var_os("FOREBAY_RABBITMQ").map_or_else(
            || {
                let user = rustix::process::getuid().as_raw();
                std::env::temp_dir().join(format!("forebay-rabbitmq-{user}"))
            },
            PathBuf::from,
        );
        let vhost = format!("test-{:016x}", fastrand::u64(..));
        let broker = Self::up(folder, vhost, None);
        let vhost = &broker.vhost;
        broker.eval(&format!(
            r#"rabbit_vhost:add(<<"{vhost}">>, <<"test">>),
            rabbit_auth_backend_internal:set_permissions(
                <<"guest">>, <<"{vhost}">>, <<".*">>, <<".*">>, <<".*">>, <<"test">>)."#
        ));
        broker
    }

    /// One's own, for tests that stop, freeze or starve it. Costs 5 s.
    pub fn own() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::up(folder.path().to_owned(), "/".to_owned(), Some(folder))
    }

    fn up(folder: PathBuf, vhost: String, own: Option<TempDir>) -> Self {
        script("up", &folder);
        let ports = std::fs::read_to_string(folder.join("ports")).unwrap();
        let port = ports.split_whitespace().next().unwrap().parse().unwrap();
        Self {
            folder,
            vhost,
            port,
            own,
        }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The virtual host of this test.
    pub fn vhost(&self) -> &str {
        &self.vhost
    }

    /// Evaluates Erlang expressions in the broker, closed by a full stop, and returns what they give. What
    /// `rabbitmqctl` does takes milliseconds so, not seconds.
    pub fn eval(&self, erlang: &str) -> String {
        let ports = std::fs::read_to_string(self.folder.join("ports")).unwrap();
        let port_mapper = ports.split_whitespace().nth(2).unwrap();
        let cookie = std::fs::read_to_string(self.folder.join(".erlang.cookie")).unwrap();
        // Two at once under one name would turn each other away.
        let name = format!("test{:08x}", fastrand::u32(..));
        let mut call = Command::new("erl_call")
            .args(["-h", &name])
            .args([
                "-n",
                &format!("forebay{}@localhost", self.port),
                "-c",
                &cookie,
                "-e",
            ])
            .env("ERL_EPMD_PORT", port_mapper)
            .env("HOME", &self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        call.stdin
            .take()
            .unwrap()
            .write_all(format!("{erlang}\n").as_bytes())
            .unwrap();
        let output = String::from_utf8(call.wait_with_output().unwrap().stdout).unwrap();
        let value = output
            .strip_prefix("{ok, ")
            .and_then(|value| value.strip_suffix('}'));
        value
            .unwrap_or_else(|| panic!("{erlang}\n-> {output:?}"))
            .to_owned()
    }

    /// Opens a further listener, for TLS, that wants a client certificate. Returns its port.
    pub fn listen_tls(&self, certs: &Certs, server: &Identity) -> u16 {
        let port = free_port();
        let file = |path: &Path| format!("{:?}", path.display().to_string());
        self.eval(&format!(
            r#"{{ok, _}} = application:ensure_all_started(ssl),
            rabbit_networking:start_ssl_listener({{"127.0.0.1", {port}}}, [{{cacertfile, {}}}, {{certfile, {}}},
                {{keyfile, {}}}, {{verify, verify_peer}}, {{fail_if_no_peer_cert, true}}], 1)."#,
            file(&certs.ca()),
            file(&server.cert),
            file(&server.key),
        ));
        until(BOUND, || listens(port).then_some(())).expect("no TLS listener");
        port
    }

    /// Raises the memory alarm: publishing connections are blocked. For `own` only.
    pub fn raise_alarm(&self) {
        self.eval("vm_memory_monitor:set_vm_memory_high_watermark(0.000001).");
    }

    /// Clears it.
    pub fn clear_alarm(&self) {
        self.eval("vm_memory_monitor:set_vm_memory_high_watermark(0.4).");
    }

    /// Stops taking connections and closes those it has. For `own` only.
    pub fn stop(&self) {
        self.eval("rabbit:stop().");
    }

    /// Starts again after `stop`.
    pub fn start(&self) {
        self.eval("rabbit:start().");
        until(BOUND, || listens(self.port).then_some(())).expect("it does not start again");
    }

    /// SIGKILL. For `own` only.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
        until(BOUND, || (!listens(self.port)).then_some(())).expect("it still listens");
    }

    /// Starts again after `kill`, on the same port.
    pub fn restart(&self) {
        script("up", &self.folder);
    }

    /// SIGSTOP: the half-open link. For `own` only.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        assert!(self.own.is_some(), "others use it too");
        let id = std::fs::read_to_string(self.folder.join("broker.pid")).unwrap();
        let id = Pid::from_raw(id.trim().parse().unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// A connection of the test's own, as guest.
    pub async fn client(&self) -> Client {
        let vhost = self.vhost.replace('/', "%2f");
        let uri = format!("amqp://guest:guest@127.0.0.1:{}/{vhost}", self.port);
        let connection = Connection::connect(&uri, ConnectionProperties::default())
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        Client {
            channel,
            _connection: connection,
        }
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        if self.own.is_some() {
            script("down", &self.folder);
        } else if !std::thread::panicking() {
            let vhost = &self.vhost;
            self.eval(&format!(
                r#"rabbit_vhost:delete(<<"{vhost}">>, <<"test">>)."#
            ));
        }
    }
}

fn script(verb: &str, folder: &Path) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/rabbitmq");
    let output = Command::new(path).arg(verb).arg(folder).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// What a test does at the broker on its own account.
pub struct Client {
    channel: Channel,
    _connection: Connection,
}

impl Client {
    /// A durable classic queue.
    pub async fn queue(&self, name: &str) {
        self.queue_with(name, &[]).await;
    }

    /// A durable queue with arguments.
    pub async fn queue_with(&self, name: &str, arguments: &[(&str, AMQPValue)]) {
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert((*name).into(), value.clone());
        }
        self.channel
            .queue_declare(name.into(), options, table)
            .await
            .unwrap();
    }

    /// Deletes a queue with what is in it.
    pub async fn delete_queue(&self, name: &str) {
        self.channel
            .queue_delete(name.into(), Default::default())
            .await
            .unwrap();
    }

    /// A durable exchange of this kind.
    pub async fn exchange(&self, name: &str, kind: lapin::ExchangeKind) {
        let options = lapin::options::ExchangeDeclareOptions {
            durable: true,
            ..Default::default()
        };
        let declared =
            self.channel
                .exchange_declare(name.into(), kind, options, FieldTable::default());
        declared.await.unwrap();
    }

    /// Binds a queue to an exchange.
    pub async fn bind(&self, queue: &str, exchange: &str, key: &str) {
        let options = Default::default();
        let bound = self.channel.queue_bind(
            queue.into(),
            exchange.into(),
            key.into(),
            options,
            FieldTable::default(),
        );
        bound.await.unwrap();
    }

    /// Publishes a message to an exchange, without asking what became of it.
    pub async fn publish(&self, exchange: &str, key: &str, payload: &[u8]) {
        let (options, properties) = (Default::default(), Default::default());
        let published =
            self.channel
                .basic_publish(exchange.into(), key.into(), options, payload, properties);
        published.await.unwrap();
    }

    /// Consumes a queue, acknowledging what comes.
    pub async fn consume(self, queue: &str) -> Consumer {
        let options = BasicConsumeOptions::default();
        let mut deliveries = self
            .channel
            .basic_consume(queue.into(), "".into(), options, FieldTable::default())
            .await
            .unwrap();
        let collected = Collected::new();
        let into = collected.clone();
        let task = tokio::spawn(async move {
            let _client = self;
            while let Some(Ok(delivery)) = deliveries.next().await {
                into.push(Consumed::from(&delivery));
                if delivery.ack(BasicAckOptions::default()).await.is_err() {
                    return;
                }
            }
        });
        Consumer { collected, task }
    }
}

/// Collects what is in a queue and what comes, until dropped.
pub struct Consumer {
    collected: Collected<Consumed>,
    task: JoinHandle<()>,
}

impl Consumer {
    /// What has arrived so far, in order.
    pub fn received(&self) -> Vec<Consumed> {
        self.collected.all()
    }

    /// Waits until what has arrived fulfils the condition, and returns it; panics after `bound`.
    pub async fn wait_for(
        &self,
        bound: Duration,
        fulfilled: impl FnMut(&[Consumed]) -> bool,
    ) -> Vec<Consumed> {
        self.collected.wait_for(bound, fulfilled).await
    }

    /// Ends consuming and returns all that arrived. A message is collected before it is acknowledged: none can be gone
    /// from the queue and missing here.
    pub async fn stop(mut self) -> Vec<Consumed> {
        self.task.abort();
        let _ended = (&mut self.task).await;
        self.collected.all()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A message that was consumed.
#[derive(Debug, Clone, PartialEq)]
pub struct Consumed {
    /// As published.
    pub exchange: String,
    /// As published.
    pub routing_key: String,
    /// Property `message-id`.
    pub message_id: Option<String>,
    /// Property `content-type`.
    pub content_type: Option<String>,
    /// Property `delivery-mode`.
    pub delivery_mode: Option<u8>,
    /// Property `timestamp`.
    pub timestamp: Option<u64>,
    /// Headers.
    pub headers: FieldTable,
    /// The bytes.
    pub payload: Vec<u8>,
}

impl Consumed {
    /// The payload as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.payload).unwrap()
    }

    /// A header that is a number.
    pub fn number(&self, header: &str) -> Option<i64> {
        self.headers.inner().get(header)?.as_long_long_int()
    }
}

impl From<&Delivery> for Consumed {
    fn from(delivery: &Delivery) -> Self {
        let properties = &delivery.properties;
        Self {
            exchange: delivery.exchange.to_string(),
            routing_key: delivery.routing_key.to_string(),
            message_id: properties.message_id().as_ref().map(ToString::to_string),
            content_type: properties.content_type().as_ref().map(ToString::to_string),
            delivery_mode: *properties.delivery_mode(),
            timestamp: *properties.timestamp(),
            headers: properties.headers().clone().unwrap_or_default(),
            payload: delivery.data.clone(),
        }
    }
}
