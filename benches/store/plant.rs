//! What is stored: scans of meters whose values move a little from one to the next.

pub(crate) const DEVICES: usize = 50;
pub(crate) const VALUES: usize = 50;
/// The values alone, as they are counted and as the floors get them.
pub(crate) const BYTES: usize = VALUES * 4;

/// The values of so many scans, device after device, little-endian; with all bits in use or `rounded` to a decimal.
pub(crate) fn records(count: usize, rounded: bool) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(11);
    let mut bell = move || (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
    let mut levels: Vec<f64> = (0..DEVICES * VALUES)
        .map(|n| match n % 5 {
            0 => 230.0 + bell() * 2.0,
            1 => 12.0 + bell(),
            2 => 2_800.0 + bell() * 500.0,
            3 => 50.0,
            _ => 500_000.0 + bell() * 80_000.0,
        })
        .collect();
    let mut out = Vec::with_capacity(count * BYTES);
    for scan in 0..count {
        let device = scan % DEVICES;
        for (n, level) in levels[device * VALUES..][..VALUES].iter_mut().enumerate() {
            match n % 5 {
                4 => *level += 0.001,
                3 => *level += bell() * 0.0005,
                _ => *level += *level * bell() * 0.0005,
            }
            let value = if rounded {
                (*level * 10.0).round() / 10.0
            } else {
                *level
            };
            out.extend_from_slice(&(value as f32).to_le_bytes());
        }
    }
    out
}
