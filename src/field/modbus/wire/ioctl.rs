//! What the drivers of serial ports are told beyond their termios settings. The standard library and the crates used here
//! have no safe form of these calls.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use crate::field::settings::{Rs485, RtsLevel};

/// `struct serial_rs485` of `linux/serial.h`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct SerialRs485 {
    flags: u32,
    delay_rts_before_send: u32,
    delay_rts_after_send: u32,
    reserved: [u32; 5],
}

/// `SER_RS485_ENABLED`: the driver switches the direction.
const ENABLED: u32 = 1;
/// `SER_RS485_RTS_ON_SEND`: RTS is high while it sends.
const RTS_ON_SEND: u32 = 1 << 1;
/// `SER_RS485_RTS_AFTER_SEND`: RTS is high while it does not.
const RTS_AFTER_SEND: u32 = 1 << 2;

/// `struct serial_struct` of `linux/serial.h`; the address of the port's memory is only passed through.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct SerialStruct {
    kind: libc::c_int,
    line: libc::c_int,
    port: libc::c_uint,
    irq: libc::c_int,
    flags: libc::c_int,
    xmit_fifo_size: libc::c_int,
    custom_divisor: libc::c_int,
    baud_base: libc::c_int,
    close_delay: libc::c_ushort,
    io_type: u8,
    reserved: u8,
    hub6: libc::c_int,
    closing_wait: libc::c_ushort,
    closing_wait2: libc::c_ushort,
    iomem_base: usize,
    iomem_reg_shift: libc::c_ushort,
    port_high: libc::c_uint,
    iomap_base: libc::c_ulong,
}

/// `ASYNC_LOW_LATENCY` of `linux/tty_flags.h`.
const LOW_LATENCY: libc::c_int = 1 << 13;

/// Has the driver of `port` switch the direction as `wanted`. Gives what it took and then ignores.
///
/// # Errors
/// Of a driver that cannot: `ENOTTY` or `EINVAL`.
pub(super) fn switch_direction(
    port: &impl AsRawFd,
    wanted: &Rs485,
) -> io::Result<Vec<&'static str>> {
    let wanted = SerialRs485::read(port)?.with(wanted);
    // SAFETY: the kernel reads, and writes back, one `serial_rs485` at the address it is given, which is that of one.
    let done = unsafe {
        let mut settings = wanted;
        libc::ioctl(port.as_raw_fd(), libc::TIOCSRS485, &raw mut settings)
    };
    checked(done)?;
    Ok(SerialRs485::read(port)?.ignored(&wanted))
}

/// Asks the driver of `port` to hand on each byte at once; gives whether it will. USB adapters with a timer (FTDI) set it to
/// 1 ms, and whoever may open the port may ask.
///
/// # Errors
/// Of a driver that has no such settings: `ENOTTY` or `EINVAL`.
pub(super) fn hand_on_at_once(port: &impl AsRawFd) -> io::Result<bool> {
    let mut settings = SerialStruct::read(port)?;
    if settings.flags & LOW_LATENCY != 0 {
        return Ok(true);
    }
    settings.flags |= LOW_LATENCY;
    // SAFETY: the kernel reads one `serial_struct` at the address it is given, which is that of one.
    checked(unsafe { libc::ioctl(port.as_raw_fd(), libc::TIOCSSERIAL, &raw const settings) })?;
    Ok(SerialStruct::read(port)?.flags & LOW_LATENCY != 0)
}

fn checked(done: libc::c_int) -> io::Result<()> {
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

impl SerialStruct {
    fn read(port: &impl AsRawFd) -> io::Result<Self> {
        let mut settings = Self::default();
        // SAFETY: the kernel writes one `serial_struct` at the address it is given, which is that of one; all of its
        // fields are integers, so that whatever is written is valid.
        checked(unsafe { libc::ioctl(port.as_raw_fd(), libc::TIOCGSERIAL, &raw mut settings) })?;
        Ok(settings)
    }
}

impl SerialRs485 {
    fn read(port: &impl AsRawFd) -> io::Result<Self> {
        let mut settings = Self::default();
        // SAFETY: as for `SerialStruct::read`, with a `serial_rs485`.
        checked(unsafe { libc::ioctl(port.as_raw_fd(), libc::TIOCGRS485, &raw mut settings) })?;
        Ok(settings)
    }

    /// These settings with those that are `wanted`; the others stay as the system has them (termination, receiving what
    /// is sent). Where it has no level yet, RTS is high while sending.
    fn with(mut self, wanted: &Rs485) -> Self {
        self.flags |= ENABLED;
        let is_low = match wanted.rts_on_send {
            Some(level) => level == RtsLevel::Low,
            None => self.flags & (RTS_ON_SEND | RTS_AFTER_SEND) == RTS_AFTER_SEND,
        };
        let level = if is_low { RTS_AFTER_SEND } else { RTS_ON_SEND };
        self.flags = self.flags & !(RTS_ON_SEND | RTS_AFTER_SEND) | level;
        let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        if let Some(delay) = wanted.delay_before {
            self.delay_rts_before_send = ms(delay);
        }
        if let Some(delay) = wanted.delay_after {
            self.delay_rts_after_send = ms(delay);
        }
        self
    }

    /// What is not as it was `wanted`, by the names of the configuration.
    fn ignored(&self, wanted: &Self) -> Vec<&'static str> {
        let differs = |flags: u32| (self.flags ^ wanted.flags) & flags != 0;
        let level = differs(RTS_ON_SEND | RTS_AFTER_SEND);
        let before = self.delay_rts_before_send != wanted.delay_rts_before_send;
        let after = self.delay_rts_after_send != wanted.delay_rts_after_send;
        let all = [
            (differs(ENABLED), "rs485"),
            (level, "rs485.rts_on_send"),
            (before, "rs485.delay_before"),
            (after, "rs485.delay_after"),
        ];
        let ignored = all.into_iter().filter_map(|(is, name)| is.then_some(name));
        ignored.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_stays_as_the_system_has_it() {
        let terminated = 1 << 5;
        let had = SerialRs485 {
            flags: terminated | RTS_AFTER_SEND,
            delay_rts_after_send: 3,
            ..SerialRs485::default()
        };
        let plain = had.with(&Rs485::default());
        assert_eq!(plain.flags, terminated | RTS_AFTER_SEND | ENABLED);
        assert_eq!(plain.delay_rts_after_send, 3);
        let said = had.with(&Rs485 {
            rts_on_send: Some(RtsLevel::High),
            delay_before: Some(Duration::from_millis(2)),
            delay_after: Some(Duration::ZERO),
        });
        assert_eq!(said.flags, terminated | RTS_ON_SEND | ENABLED);
        assert_eq!(said.delay_rts_before_send, 2);
        assert_eq!(said.delay_rts_after_send, 0);
        let fresh = SerialRs485::default().with(&Rs485::default());
        assert_eq!(fresh.flags, RTS_ON_SEND | ENABLED);
    }

    #[test]
    fn what_a_driver_ignores_is_named() {
        let wanted = SerialRs485::default().with(&Rs485 {
            rts_on_send: Some(RtsLevel::Low),
            delay_before: Some(Duration::from_millis(5)),
            delay_after: None,
        });
        assert!(wanted.ignored(&wanted).is_empty());
        let taken = SerialRs485 {
            flags: RTS_ON_SEND | ENABLED,
            ..SerialRs485::default()
        };
        let names = ["rs485.rts_on_send", "rs485.delay_before"];
        assert_eq!(taken.ignored(&wanted), names);
        assert_eq!(SerialRs485::default().ignored(&taken)[0], "rs485");
    }

    #[test]
    fn the_structures_are_as_long_as_those_of_the_kernel() {
        assert_eq!(size_of::<SerialRs485>(), 32);
        let words = size_of::<usize>() / 4;
        assert_eq!(size_of::<SerialStruct>(), if words == 2 { 72 } else { 60 });
    }
}
