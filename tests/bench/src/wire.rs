//! Bytes and round trips between the webhook function and `PostgreSQL` for one webhook.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Url;
use strum::IntoEnumIterator as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::events::{Events, Kind};
use super::load::is_taken;
use super::site::Site;
use super::table::{Limit, Report, Table, number};
use ringfence_harness::error::{Context, Error, Result};
use ringfence_harness::lambda::Host;

const RUN: u64 = 8_500;
const WEBHOOKS: u64 = 20;

/// Numbers of bytes and of turns, which are changes of the sending side. A webhook that waits once for the database has
/// two turns.
#[derive(Default)]
struct Wire {
    sent: AtomicUsize,
    received: AtomicUsize,
    turns: AtomicUsize,
    speaker: AtomicUsize,
}

/// Posts some webhooks of each kind and counts.
pub(super) async fn measure(site: &Site<'_>, report: &mut Report) -> Result<()> {
    let wire = Arc::new(Wire::default());
    let url = listen(site, Arc::clone(&wire)).await?;
    let host = Host::start(&[site.function("webhook", 1, &url)?]).await?;
    let columns = ["event", "body bytes", "round trips", "bytes to PostgreSQL", "bytes back"];
    let mut table = Table::new("On the wire, for one webhook over a warm connection", &columns);
    post(&host, &Events::of(site, Kind::CallStarted)?, WEBHOOKS..WEBHOOKS + 1).await?;
    for kind in Kind::iter() {
        let events = Events::of(site, kind)?;
        wire.take();
        post(&host, &events, 0..WEBHOOKS).await?;
        let counted = wire.take();
        let round_trips = counted[2] / 2.0;
        let body = events.request(kind.place(RUN, 0, 0)).len().to_string();
        let figures = [round_trips, counted[0], counted[1]].map(number);
        table.row([kind.name().to_owned(), body].into_iter().chain(figures));
        report.database_goal(format!("{}: round trips", kind.name()), round_trips, Limit::AtMost(1.0));
    }
    host.stop().await;
    report.add(table);
    Ok(())
}

async fn post(host: &Host, events: &Events, indices: std::ops::Range<u64>) -> Result<()> {
    for index in indices {
        let answer = host.invoke("webhook", events.request(events.kind.place(RUN, 0, index))).await;
        if !answer.as_ref().is_ok_and(|answer| is_taken(answer)) {
            return Err(Error::new(format!("a webhook was not acknowledged: {answer:?}")));
        }
    }
    Ok(())
}

impl Wire {
    fn note(&self, speaker: usize, bytes: usize) {
        let counter = if speaker == 1 { &self.sent } else { &self.received };
        counter.fetch_add(bytes, Ordering::SeqCst);
        if self.speaker.swap(speaker, Ordering::SeqCst) != speaker {
            self.turns.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Bytes sent, bytes received and turns per webhook since the last call.
    fn take(&self) -> [f64; 3] {
        #[expect(clippy::cast_precision_loss, reason = "a few webhooks have fewer than 2^52 bytes")]
        [&self.sent, &self.received, &self.turns].map(|it| it.swap(0, Ordering::SeqCst) as f64 / WEBHOOKS as f64)
    }
}

/// Starts a proxy in front of the server, and returns its URL.
async fn listen(site: &Site<'_>, wire: Arc<Wire>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for connections")?;
    let mut url = Url::parse(&site.app_url).context("read a local URL")?;
    let target = url.port().unwrap_or_default();
    let port = listener.local_addr().context("listen for connections")?.port();
    url.set_port(Some(port)).map_err(|()| Error::new("a local URL has no host"))?;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(carry(client, target, Arc::clone(&wire)));
        }
    });
    Ok(url.to_string())
}

async fn carry(client: TcpStream, target: u16, wire: Arc<Wire>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::join!(pass(from_client, to_server, &wire, 1), pass(from_server, to_client, &wire, 2));
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, wire: &Wire, speaker: usize) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        wire.note(speaker, count);
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
