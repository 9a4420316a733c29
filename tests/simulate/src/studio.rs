//! Where simulated calls are recorded: a small HTTP server that gives out a recording, as Vapi's presigned links do.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use ringfence_harness::error::{Context, Result};

const SAMPLES_PER_SECOND: u32 = 8_000;
/// The length of every recording: its head and a second of it, two bytes a sample.
pub(super) const RECORDING_BYTES: usize = 44 + 2 * SAMPLES_PER_SECOND as usize;

/// The server. It is gone when dropped.
pub struct Studio {
    /// Where it is, without a slash at the end.
    pub url: String,
    serving: JoinHandle<()>,
}

impl Studio {
    /// Opens on a port of its own on this machine.
    pub async fn open() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for whoever fetches recordings")?;
        let address = listener.local_addr().context("listen for whoever fetches recordings")?;
        let recording = Bytes::from(tone());
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let recording = recording.clone();
                tokio::spawn(async move {
                    let service = service_fn(|_| {
                        let recording = recording.clone();
                        async move { Ok::<_, Infallible>(Response::new(Full::new(recording))) }
                    });
                    // It ends when the peer does.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { url: format!("http://{address}"), serving })
    }
}

impl Drop for Studio {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A second of a tone as a WAV file (RIFF, PCM, one channel of 16 bits).
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
