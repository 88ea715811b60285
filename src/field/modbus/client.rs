//! One read after the other over a link: retries, reconnecting, and what the device said.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;
use tokio_modbus::client::{Context, Reader, rtu, tcp};
use tokio_modbus::slave::{Slave, SlaveContext};

use super::frame::ReadRequest;
use super::ledger::Ledger;
use super::link::{Exchange, Fault, Link};
use super::map::Table;
use super::pipe::LinkTransport;
use super::wire::{Bus, Framing, Opener};
use crate::field::error::FieldError;
use crate::field::status::Counters;

/// How a device wants to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// How long to wait for an answer.
    pub timeout: Duration,
    /// How often the same request is repeated.
    pub retries: u32,
    /// Extra silence before each request.
    pub delay: Duration,
    /// It answers with transaction ids of its own.
    pub lenient: bool,
    /// It is known not to answer: a request that finds it so says nothing about the connection.
    pub offline: bool,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Registers, as many as were asked for.
    Registers(Vec<u16>),
    /// Bits, as many as were asked for.
    Bits(Vec<bool>),
}

/// Reads over one wire, which it opens again when it must.
pub struct Client {
    opener: Opener,
    bus: Bus,
    pause: Duration,
    link: Option<Link>,
    /// What the last wire left to the next.
    ledger: Ledger,
    /// The library's side; made anew after any error, as its decoder then refuses the next answer.
    library: Option<(LinkTransport, Context)>,
    exchanges: u64,
}

impl Client {
    /// A client that has nothing open yet; `pause` is kept after each opening.
    pub fn new(opener: Opener, bus: Bus, pause: Duration) -> Self {
        Self {
            opener,
            bus,
            pause,
            link: None,
            ledger: Ledger::default(),
            library: None,
            exchanges: 0,
        }
    }

    /// Opens the wire, unless it is open.
    ///
    /// # Errors
    /// [`FieldError::NoConnection`] with the reason.
    pub async fn open(&mut self) -> Result<(), FieldError> {
        if self.link.is_none() {
            let wire = (self.opener)()
                .await
                .map_err(|error| FieldError::NoConnection(error.to_string()))?;
            let ledger = std::mem::take(&mut self.ledger);
            self.link = Some(Link::new(wire, self.bus, self.pause, ledger));
        }
        Ok(())
    }

    /// Closes the wire.
    pub fn close(&mut self) {
        if let Some(link) = self.link.take() {
            self.ledger = link.close();
        }
        self.library = None;
    }

    /// Reads, with as many attempts as `manner` has.
    ///
    /// # Errors
    /// Why there is nothing, after the last attempt. With [`FieldError::NoConnection`] the wire is closed.
    pub async fn read(
        &mut self,
        request: ReadRequest,
        manner: &Manner,
        counters: &Counters,
    ) -> Result<Answer, FieldError> {
        self.exchanges += 1;
        let exchange = Exchange {
            request,
            id: self.exchanges,
            timeout: manner.timeout,
            delay: manner.delay,
            lenient: manner.lenient,
        };
        let mut attempts = manner.retries.saturating_add(1);
        let mut reopened = false;
        loop {
            self.open().await?;
            let fault = match self.attempt(&exchange, counters).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(code)) => return Err(FieldError::Exception(code)),
                Err(fault) => fault,
            };
            self.library = None;
            if self.must_close(&fault, manner) {
                self.close();
            }
            // Devices close idle connections; nothing was asked yet.
            if matches!(fault, Fault::GoneBefore(_)) && !std::mem::replace(&mut reopened, true) {
                continue;
            }
            attempts -= 1;
            if attempts == 0 {
                return Err(told(fault));
            }
        }
    }

    /// On TCP a new connection leaves all late answers behind. It is kept only where transaction ids tell them apart and
    /// nothing speaks against it: a device behind a gateway, long silent, others answering.
    fn must_close(&self, fault: &Fault, manner: &Manner) -> bool {
        match fault {
            Fault::GoneBefore(_) | Fault::Gone(_) | Fault::Lost => true,
            Fault::Unfit | Fault::Short => false,
            // Part of a frame came in: where the next one begins is not known.
            Fault::Garbled => self.bus.framing == Framing::Mbap,
            Fault::Timeout { .. } => {
                let others_answer = self.link.as_ref().is_some_and(Link::has_answered);
                self.bus.framing == Framing::Mbap
                    && (manner.lenient || !manner.offline || !others_answer)
            }
        }
    }

    /// One attempt; before it, where a late answer could be taken for its answer, what makes sure that none can come.
    async fn attempt(
        &mut self,
        exchange: &Exchange,
        counters: &Counters,
    ) -> Result<Result<Answer, u8>, Fault> {
        let fence = self.link.as_ref().and_then(|link| link.fence(exchange));
        if let (Some(fence), false) = (fence, self.is_repeat(exchange)) {
            let proof = match fence {
                Some(request) => {
                    self.exchanges += 1;
                    let id = self.exchanges;
                    let fence = Exchange {
                        request,
                        id,
                        ..*exchange
                    };
                    self.call(&fence, counters).await.map(drop)
                }
                None => Err(Fault::Timeout { refused: true }),
            };
            match proof {
                Ok(()) => {}
                Err(Fault::Timeout { refused: true }) => {
                    self.library = None;
                    if let Some(link) = &mut self.link {
                        link.settle(exchange.request.unit(), exchange.timeout)
                            .await?;
                    }
                }
                Err(fault) => return Err(fault),
            }
        }
        self.call(exchange, counters).await
    }

    /// Whether this very read was sent already: its late answer is as good as any.
    fn is_repeat(&self, exchange: &Exchange) -> bool {
        self.link
            .as_ref()
            .is_some_and(|link| link.was_sent(exchange))
    }

    async fn call(
        &mut self,
        exchange: &Exchange,
        counters: &Counters,
    ) -> Result<Result<Answer, u8>, Fault> {
        let Some(link) = &mut self.link else {
            return Err(Fault::Timeout { refused: false });
        };
        let (transport, context) = self
            .library
            .get_or_insert_with(|| library(self.bus.framing));
        context.set_slave(Slave(exchange.request.unit()));
        let stale = link.stale();
        counters.requests.add(1);
        let began = Instant::now();
        let result = {
            let mut call = pin!(call(context, exchange.request));
            // The first poll writes the request and begins to wait for the answer.
            let early = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
            match early {
                Poll::Ready(result) => result,
                Poll::Pending => match link.exchange(&transport.take_request(), exchange).await {
                    Ok(answer) => {
                        transport.give_answer(answer);
                        call.await
                    }
                    Err(fault) => Err(fault),
                },
            }
        };
        counters.stale.add(link.stale() - stale);
        let busy = began.elapsed().as_micros();
        counters
            .busy_us
            .add(u64::try_from(busy).unwrap_or(u64::MAX));
        if result.is_ok() {
            counters.answer_times.add(link.answer_time());
        }
        match &result {
            Ok(Ok(_)) => counters.answers.add(1),
            Ok(Err(code)) => counters.exceptions.add(*code),
            Err(Fault::Timeout { .. }) => counters.timeouts.add(1),
            Err(Fault::Garbled | Fault::Lost | Fault::Unfit | Fault::Short) => {
                counters.garbled.add(1)
            }
            Err(Fault::Gone(_) | Fault::GoneBefore(_)) => {}
        }
        result
    }
}

fn told(fault: Fault) -> FieldError {
    match fault {
        Fault::GoneBefore(error) | Fault::Gone(error) => {
            FieldError::NoConnection(error.to_string())
        }
        Fault::Lost | Fault::Unfit | Fault::Garbled => FieldError::Garbled,
        Fault::Short => FieldError::Short,
        Fault::Timeout { .. } => FieldError::Timeout,
    }
}

fn library(framing: Framing) -> (LinkTransport, Context) {
    let transport = LinkTransport::default();
    let unit = Slave::min_device();
    let context = match framing {
        Framing::Mbap => tcp::attach_slave(transport.clone(), unit),
        Framing::Rtu => rtu::attach_slave(transport.clone(), unit),
    };
    (transport, context)
}

async fn call(context: &mut Context, request: ReadRequest) -> Result<Result<Answer, u8>, Fault> {
    let (address, count) = (request.address(), request.count());
    let result = match request.table() {
        Table::Coil => context
            .read_coils(address, count)
            .await
            .map(|r| r.map(Answer::Bits)),
        Table::DiscreteInput => {
            let bits = context.read_discrete_inputs(address, count).await;
            bits.map(|r| r.map(Answer::Bits))
        }
        Table::InputRegister => {
            let words = context.read_input_registers(address, count).await;
            words.map(|r| r.map(Answer::Registers))
        }
        Table::HoldingRegister => {
            let words = context.read_holding_registers(address, count).await;
            words.map(|r| r.map(Answer::Registers))
        }
    };
    // The link lets whole and fitting frames through only; should the library see it otherwise, there is no answer.
    let answer = result.map_err(|_| Fault::Unfit)?;
    match &answer {
        Ok(Answer::Registers(words)) if words.len() != usize::from(count) => Err(Fault::Unfit),
        Ok(Answer::Bits(bits)) if bits.len() < usize::from(count) => Err(Fault::Unfit),
        _ => Ok(answer.map_err(u8::from)),
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("bus", &self.bus)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}
