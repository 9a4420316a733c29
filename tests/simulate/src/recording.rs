//! Recordings of simulated calls.

use ringfence_harness::testing::FakeVapi;
use ringfence_harness::testing::fake_vapi::Reply;

const SAMPLES_PER_SECOND: u32 = 8_000;
/// Size of every recording: its header and one second of two bytes per sample.
pub(super) const RECORDING_BYTES: usize = 44 + 2 * SAMPLES_PER_SECOND as usize;

/// A fake of Vapi's storage that serves a recording for every path.
pub async fn storage() -> FakeVapi {
    FakeVapi::start_with(Reply::File(tone())).await
}

/// One second of a tone as a WAV file (RIFF, PCM, one channel of 16 bits).
fn tone() -> Vec<u8> {
    const PERIOD: u32 = 18;
    const LOUDNESS: i16 = 6_000;
    let data_bytes = 2 * SAMPLES_PER_SECOND;
    let mut wav = Vec::with_capacity(RECORDING_BYTES);
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + data_bytes).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt ");
    wav.extend_from_slice(&16_u32.to_le_bytes());
    let (pcm, channels, sample_bytes, sample_bits) = (1_u16, 1_u16, 2_u16, 16_u16);
    wav.extend_from_slice(&pcm.to_le_bytes());
    wav.extend_from_slice(&channels.to_le_bytes());
    wav.extend_from_slice(&SAMPLES_PER_SECOND.to_le_bytes());
    wav.extend_from_slice(&data_bytes.to_le_bytes());
    wav.extend_from_slice(&sample_bytes.to_le_bytes());
    wav.extend_from_slice(&sample_bits.to_le_bytes());
    wav.extend_from_slice(b"data");
    wav.extend_from_slice(&data_bytes.to_le_bytes());
    for sample in 0..SAMPLES_PER_SECOND {
        let level = if sample % PERIOD < PERIOD / 2 { LOUDNESS } else { -LOUDNESS };
        wav.extend_from_slice(&level.to_le_bytes());
    }
    wav
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_as_long_as_it_says() {
        assert_eq!(tone().len(), RECORDING_BYTES);
    }
}
