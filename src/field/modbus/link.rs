//! The framing layer under tokio-modbus: silence, stale answers, what was wrong with an answer.
//!
//! The library takes whatever comes next on the wire for the answer, and says of a broken frame no more than that there
//! was none. Here a request goes out after the silence that the bus needs and on an emptied input, and only a whole,
//! right frame that answers it comes back; everything else is named.

use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout_at};

use super::frame::{Found, ReadRequest, find_mbap, find_rtu};
use super::ledger::{Ledger, Settled};
use super::pause::Pause;
use super::wire::{Bus, Framing, Wire};

/// What a request is, beside its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exchange {
    pub(super) request: ReadRequest,
    /// The same for all attempts of one read.
    pub(super) id: u64,
    /// From the end of the request to the beginning of the answer.
    pub(super) timeout: Duration,
    /// Extra silence before the request.
    pub(super) delay: Duration,
    /// The device answers with transaction ids of its own.
    pub(super) lenient: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// The connection was gone before the request went out.
    GoneBefore(io::Error),
    /// The connection broke.
    Gone(io::Error),
    /// What came in has no frames.
    Lost,
    /// The answer is a whole frame, but not one that the request can have.
    Unfit,
    /// The answer has fewer places than were asked for.
    Short,
    /// Bytes came in, no frame.
    Garbled,
    /// No answer came in. `refused`: but an exception that can be the answer or that to an older request.
    Timeout { refused: bool },
}

/// What came in while an answer was waited for.
#[derive(Debug, Default)]
struct Seen {
    /// An exception that can be the answer or that to an older request.
    refused: bool,
    /// Bytes that are no frame.
    noise: bool,
    /// A frame that fits but for its length.
    short: bool,
}

/// A wire with frames on it. At most one request is out.
#[derive(Debug)]
pub(super) struct Link {
    wire: Box<dyn Wire>,
    bus: Bus,
    ledger: Ledger,
    input: BytesMut,
    /// Transaction id of the request that is out.
    transaction: u16,
    /// No request before this: silence after the last byte, or the rest after connecting.
    quiet_until: Instant,
    pause: Pause,
    answered: bool,
    stale: u64,
    /// How long the device took to answer last, the characters on the wire left out.
    answer_time: Duration,
}

/// A longer run of bytes without a frame is noise: the longest frame has 260.
const MOST_INPUT: usize = 1024;

/// A frame that is broken off for so long is not going on; USB adapters deliver every 16 ms.
const BROKEN_OFF: Duration = Duration::from_millis(50);

impl Link {
    /// A link over `wire`, silent for `pause` at first. `ledger`: what was asked over an earlier wire and may still be
    /// answered; a bus behind a converter knows nothing of connections.
    pub(super) fn new(wire: Box<dyn Wire>, bus: Bus, pause: Duration, ledger: Ledger) -> Self {
        Self {
            wire,
            bus,
            ledger,
            input: BytesMut::with_capacity(512),
            transaction: fastrand::u16(..),
            quiet_until: Instant::now() + pause.max(bus.silence),
            pause: Pause::default(),
            answered: false,
            stale: 0,
            answer_time: Duration::ZERO,
        }
    }

    /// Closes the wire; gives what must be known of it on the next one.
    pub(super) fn close(self) -> Ledger {
        match self.bus.framing {
            // The connection takes its late answers with it.
            Framing::Mbap => Ledger::default(),
            Framing::Rtu => self.ledger,
        }
    }

    /// Whether anything was ever answered here.
    pub(super) fn has_answered(&self) -> bool {
        self.answered
    }

    /// How long the device took before it began to answer last; on TCP, until it had answered.
    pub(super) fn answer_time(&self) -> Duration {
        self.answer_time
    }

    /// How many frames came in that were not the answer waited for.
    pub(super) fn stale(&self) -> u64 {
        self.stale
    }

    /// What must be asked before `request`, as an answer to it could not be told from a late one. `Some(None)`: nothing
    /// that could be told; only silence helps.
    pub(super) fn fence(&self, exchange: &Exchange) -> Option<Option<ReadRequest>> {
        if self.has_ids(exchange) || !self.ledger.is_ambiguous(exchange.request) {
            return None;
        }
        Some(self.ledger.fence(exchange.request))
    }

    /// Whether this very read was sent already and is unanswered.
    pub(super) fn was_sent(&self, exchange: &Exchange) -> bool {
        self.ledger.has(exchange.id)
    }

    /// Waits for a silence of two timeouts, or of twice the longest answer time seen; what was asked of `unit` before will
    /// then not be answered any more. Ten timeouts at the most: an answer that was counted for an older request than its
    /// own seems to have taken longer than it did.
    pub(super) async fn settle(&mut self, unit: u8, timeout: Duration) -> Result<(), Fault> {
        let silence = (self.ledger.slowest() * 2).clamp(timeout * 2, timeout * 10);
        let give_up = Instant::now() + silence * 4;
        while Instant::now() < give_up {
            self.input.clear();
            match timeout_at(
                Instant::now() + silence,
                self.wire.read_buf(&mut self.input),
            )
            .await
            {
                Ok(read) => self.took(read)?,
                Err(_) => {
                    self.ledger.forget(unit);
                    return Ok(());
                }
            }
        }
        // A bus that does not fall silent proves nothing.
        Err(Fault::Garbled)
    }

    /// Sends the request frame `bytes` and waits for the frame that answers it, with the transaction id of `bytes`.
    pub(super) async fn exchange(
        &mut self,
        bytes: &[u8],
        exchange: &Exchange,
    ) -> Result<Bytes, Fault> {
        self.pause.until(self.quiet_until + exchange.delay).await;
        self.drain(exchange).await?;
        // Before the bytes go out: some drivers say that they have when they have only taken them.
        let began = Instant::now();
        self.send(bytes, exchange).await.map_err(Fault::Gone)?;
        let mut answer = self.answer(exchange).await?;
        let characters = u32::try_from(bytes.len() + answer.len()).unwrap_or(u32::MAX);
        let on_wire = self.bus.character * characters;
        self.answer_time = began.elapsed().saturating_sub(on_wire);
        self.answered = true;
        if let (Framing::Mbap, Some(own), Some(id)) =
            (self.bus.framing, answer.get_mut(..2), bytes.get(..2))
        {
            own.copy_from_slice(id);
        }
        Ok(answer.freeze())
    }

    fn has_ids(&self, exchange: &Exchange) -> bool {
        self.bus.framing == Framing::Mbap && !exchange.lenient
    }

    /// Takes in what came since the last answer; without transaction ids it is thrown away.
    async fn drain(&mut self, exchange: &Exchange) -> Result<(), Fault> {
        loop {
            let read = std::future::poll_fn(|context| {
                let mut bytes = [0; 256];
                let mut buffer = ReadBuf::new(&mut bytes);
                let read = match Pin::new(&mut self.wire).poll_read(context, &mut buffer) {
                    Poll::Ready(result) => Some(result.map(|()| buffer.filled().len())),
                    Poll::Pending => None,
                };
                self.input.extend_from_slice(buffer.filled());
                Poll::Ready(read)
            });
            // Without it the runtime may say "nothing there" to a task that has had its turn, and an old frame stays in.
            match tokio::task::unconstrained(read).await {
                None => break,
                Some(Ok(0)) => return Err(Fault::GoneBefore(closed())),
                Some(Ok(_)) => self.bound(),
                Some(Err(error)) => return Err(Fault::GoneBefore(error)),
            }
        }
        if !self.has_ids(exchange) {
            self.input.clear();
        }
        Ok(())
    }

    async fn send(&mut self, bytes: &[u8], exchange: &Exchange) -> io::Result<()> {
        let mut frame = BytesMut::from(bytes);
        if let (Framing::Mbap, Some(id)) = (self.bus.framing, frame.get_mut(..2)) {
            self.transaction = self.transaction.wrapping_add(1);
            id.copy_from_slice(&self.transaction.to_be_bytes());
        }
        if !self.has_ids(exchange) {
            self.ledger
                .sent(exchange.request, exchange.id, Instant::now());
        }
        // A driver that takes no bytes (flow control) must not hold the line for ever.
        let limit = Instant::now() + exchange.timeout + self.bus.character * 64;
        let write = async {
            self.wire.write_all(&frame).await?;
            self.wire.flush().await
        };
        timeout_at(limit, write)
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "cannot write")))?;
        self.rest();
        Ok(())
    }

    async fn answer(&mut self, exchange: &Exchange) -> Result<BytesMut, Fault> {
        // Adapters say "sent" early: the request is given its time on the wire once more.
        let length = exchange.request.rtu_answer_len();
        let characters = u32::try_from(length + 8).unwrap_or(u32::MAX);
        let deadline = Instant::now() + exchange.timeout + self.bus.character * characters;
        let mut seen = Seen::default();
        loop {
            while let Some((bytes, settled)) = self.next_frame(exchange, &mut seen)? {
                match settled {
                    Settled::Answer => return Ok(bytes),
                    Settled::Refused => seen.refused = true,
                    Settled::Late | Settled::Foreign => {}
                }
                self.stale += 1;
            }
            // Everything that the answer should have is there, and no frame among it: it will not become right.
            let until = if self.bus.framing == Framing::Rtu && self.input.len() >= length {
                deadline.min(Instant::now() + BROKEN_OFF)
            } else {
                deadline
            };
            match timeout_at(until, self.wire.read_buf(&mut self.input)).await {
                Ok(read) => self.took(read)?,
                Err(_) if seen.short => return Err(Fault::Short),
                Err(_) if seen.noise || !self.input.is_empty() => return Err(Fault::Garbled),
                Err(_) => {
                    let refused = seen.refused;
                    return Err(Fault::Timeout { refused });
                }
            }
        }
    }

    /// Takes the next whole frame out of the input and says what it is.
    fn next_frame(
        &mut self,
        exchange: &Exchange,
        seen: &mut Seen,
    ) -> Result<Option<(BytesMut, Settled)>, Fault> {
        let (skip, len, settled) = match self.bus.framing {
            Framing::Mbap => match find_mbap(&self.input) {
                Found::Frame {
                    skip,
                    len,
                    frame: (id, frame),
                } => {
                    let fits = frame.filter(|frame| frame.may_answer(exchange.request));
                    let settled = if !exchange.lenient {
                        if id != self.transaction {
                            Settled::Foreign
                        } else if fits.is_some() {
                            Settled::Answer
                        } else if frame.is_some_and(|frame| frame.is_short_of(exchange.request)) {
                            return Err(Fault::Short);
                        } else {
                            return Err(Fault::Unfit);
                        }
                    } else {
                        frame.map_or(Settled::Foreign, |frame| {
                            self.ledger.received(frame, Instant::now())
                        })
                    };
                    (skip, len, settled)
                }
                Found::Incomplete => return Ok(None),
                Found::Lost => return Err(Fault::Lost),
            },
            Framing::Rtu => match find_rtu(&self.input, exchange.request.unit()) {
                Found::Frame { skip, len, frame } => {
                    let settled = self.ledger.received(frame, Instant::now());
                    // It may be a second copy of an older answer: only if no other comes, it was this one's.
                    seen.short |=
                        settled == Settled::Foreign && frame.is_short_of(exchange.request);
                    (skip, len, settled)
                }
                Found::Incomplete | Found::Lost => return Ok(None),
            },
        };
        seen.noise |= skip > 0;
        self.input.advance(skip);
        Ok(Some((self.input.split_to(len), settled)))
    }

    /// Looks at what a read gave.
    fn took(&mut self, read: io::Result<usize>) -> Result<(), Fault> {
        match read {
            // Also what a serial port gives whose adapter was unplugged.
            Ok(0) => return Err(Fault::Gone(closed())),
            Ok(_) => {}
            Err(error) => return Err(Fault::Gone(error)),
        }
        self.rest();
        self.bound();
        Ok(())
    }

    fn bound(&mut self) {
        let surplus = self.input.len().saturating_sub(MOST_INPUT);
        self.input.advance(surplus);
    }

    /// Something was on the wire just now: the silence begins anew.
    fn rest(&mut self) {
        self.quiet_until = Instant::now() + self.bus.silence;
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the other side")
}
