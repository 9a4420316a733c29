//! What pgbench's side pays for putting its events together, which the door's side does not.

use std::time::Duration;

use super::Length;
use super::events::{Events, Kind};
use super::load::Window;
use super::pgbench;
use super::site::Site;
use super::table::{Report, Table, median, number};
use crate::error::Result;

/// Measures in alternating rounds. The large report is left out: no argument of a program may be so long.
pub(super) async fn measure(site: &Site<'_>, length: Length, report: &mut Report) -> Result<()> {
    if !pgbench::is_installed(site) {
        return Ok(());
    }
    let (rounds, millis) = if length == Length::Full { (3, 1_500) } else { (1, 500) };
    let window = Window { warm_up: Duration::from_millis(500), length: Duration::from_millis(millis) };
    let columns = ["event", "from pieces, us", "whole, us", "difference, us"];
    let mut table = Table::new("PostgreSQL's CPU for reading an event, as pgbench sends it", &columns);
    site.pin(true)?;
    for kind in [Kind::CallStarted, Kind::Transcript, Kind::CallEnded, Kind::Report] {
        let events = Events::of(site, kind)?;
        let (mut pieces, mut wholes) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            pieces.push(server_cpu(site, &events, false, window).await?);
            wholes.push(server_cpu(site, &events, true, window).await?);
        }
        let (pieces, whole) = (median(pieces), median(wholes));
        table.row([kind.name().to_owned()].into_iter().chain([pieces, whole, pieces - whole].map(number)));
    }
    site.pin(false)?;
    report.add(table);
    Ok(())
}

async fn server_cpu(site: &Site<'_>, events: &Events, whole: bool, window: Window) -> Result<f64> {
    let (answered, usage) = pgbench::read_only(site, events, whole, window).await?;
    Ok(answered.figures(usage).server_cpu)
}
