//! Deliveries of the events and their order.

use super::plan::{Call, Step};
use super::signing::Mechanism;

/// A webhook to post.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery<'a> {
    pub(super) call: &'a Call,
    pub(super) step: Step<'a>,
    /// Index of the step in its call.
    pub(super) position: usize,
    /// Number of earlier deliveries of the step.
    pub(super) number: usize,
    pub(super) mechanism: Mechanism,
}

/// Sequential deliveries. Trains run concurrently.
pub(super) type Train<'a> = Vec<Delivery<'a>>;

/// A train for each call with its events in order. If `shuffle`, a train for each delivery, in random order. Every
/// event has `duplicates` additional deliveries.
pub(super) fn schedule(calls: &[Call], duplicates: usize, shuffle: bool) -> Vec<Train<'_>> {
    let mut index = 0;
    let mut trains: Vec<Train<'_>> = calls
        .iter()
        .map(|call| {
            let steps = call.steps().into_iter().enumerate();
            let deliveries =
                steps.flat_map(|(position, step)| (0..=duplicates).map(move |number| (position, step, number)));
            let delivery = |(position, step, number)| {
                index += 1;
                Delivery { call, step, position, number, mechanism: Mechanism::of(index) }
            };
            deliveries.map(delivery).collect()
        })
        .collect();
    if shuffle {
        trains = trains.into_iter().flatten().map(|delivery| vec![delivery]).collect();
        fastrand::shuffle(&mut trains);
    }
    trains
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::plan::Run;

    #[test]
    fn each_event_comes_once_and_its_duplicates_after_it() {
        let calls = Run::new(Timestamp::now(), false).calls(7);
        let events: usize = calls.iter().map(|call| call.steps().len()).sum();
        let in_order = schedule(&calls, 2, false);
        assert_eq!(in_order.len(), calls.len());
        assert_eq!(in_order.iter().map(Vec::len).sum::<usize>(), 3 * events);
        let numbers: Vec<usize> = in_order[0].iter().take(6).map(|delivery| delivery.number).collect();
        assert_eq!(numbers, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn shuffled_each_delivery_goes_by_itself_and_none_is_lost() {
        let calls = Run::new(Timestamp::now(), false).calls(7);
        let events: usize = calls.iter().map(|call| call.steps().len()).sum();
        let shuffled = schedule(&calls, 1, true);
        assert_eq!(shuffled.len(), 2 * events);
        assert!(shuffled.iter().all(|train| train.len() == 1));
    }

    #[test]
    fn every_mechanism_has_its_turn() {
        let calls = Run::new(Timestamp::now(), false).calls(1);
        let trains = schedule(&calls, 0, false);
        for mechanism in [Mechanism::Secret, Mechanism::Bearer, Mechanism::Signature] {
            assert!(trains[0].iter().any(|delivery| delivery.mechanism == mechanism), "{mechanism:?}");
        }
    }
}
