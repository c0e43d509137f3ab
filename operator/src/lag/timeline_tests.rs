//! Lines, from loads of which every record's time is known.

use proptest::prelude::*;

use super::*;

const INTERVAL: i64 = 5_000;

/// Records by their times, and the line of someone who sampled them from `first` on, every interval.
fn sampled(times: &[i64], first: i64) -> Timeline {
    let mut line = Timeline::default();
    let last = times.last().copied().unwrap_or(first);
    let mut now = first;
    loop {
        line.sample(times.partition_point(|time| *time <= now) as i64, now);
        if now >= last {
            return line;
        }
        now += INTERVAL;
    }
}

/// Bursts: a pause, and how many records then come how far from one another.
fn loads() -> impl Strategy<Value = Vec<i64>> {
    let burst = (0..40_000_i64, 1..60_i64, 0..800_i64);
    prop::collection::vec(burst, 1..60).prop_map(|bursts| {
        let mut now = 1_000_000;
        let mut times = Vec::new();
        for (pause, count, gap) in bursts {
            now += pause;
            for _ in 0..count {
                times.push(now);
                now += gap;
            }
        }
        times
    })
}

/// How far the line is off, at worst beyond what it says, over the records that it knows.
fn check(line: &Timeline, times: &[i64]) -> Result<(), TestCaseError> {
    let mut before = i64::MIN;
    prop_assert!(line.0.len() <= POINTS);
    let first = line.0.front().map_or(0, |point| point.offset);
    for (offset, time) in (0..).zip(times) {
        match line.arrival(offset) {
            None => prop_assert!(offset < first, "{offset} is not known"),
            Some(arrival) => {
                let off = (arrival.at - time).abs();
                prop_assert!(off <= arrival.within + 1, "{offset}: off by {off}, said {arrival:?}");
                prop_assert!(before <= arrival.at, "{offset} arrived before the one before it");
                before = arrival.at;
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_line_is_bounded_and_never_further_off_than_it_says(times in loads(), late in 0..60_000_i64) {
        check(&sampled(&times, 1_000_000 + late), &times)?;
    }

    #[test]
    fn a_record_that_was_read_is_known_exactly_and_the_rest_no_worse_than_it_says(
        times in loads(), late in 0..600_000_i64, read in prop::collection::vec(any::<prop::sample::Index>(), 1..80),
    ) {
        let mut line = sampled(&times, 1_000_000 + late);
        for index in read {
            let offset = index.index(times.len());
            line.learn(offset as i64, times[offset]);
            let arrival = line.arrival(offset as i64);
            // Unless it was left out at once, because there are too many.
            if line.0.len() < POINTS {
                prop_assert_eq!(arrival, Some(Arrival { at: times[offset], within: 0 }));
            }
        }
        check(&line, &times)?;
    }

    #[test]
    fn what_was_read_by_everybody_is_forgotten_and_nothing_else(times in loads(), by in any::<prop::sample::Index>()) {
        let whole = sampled(&times, 1_000_000);
        let from = by.index(times.len()) as i64;
        let mut rest = whole.clone();
        rest.forget_before(from);
        for offset in from..times.len() as i64 {
            prop_assert_eq!(rest.arrival(offset), whole.arrival(offset));
        }
    }

    #[test]
    fn a_steady_load_is_known_to_a_fraction_of_a_sample_however_long_it_lasts(gap in 1..5_000_i64, hours in 1..5_i64) {
        let times: Vec<i64> = (0..hours * 3_600_000 / gap.max(100)).map(|record| 1_000_000 + record * gap.max(100)).collect();
        let line = sampled(&times, 1_000_000);
        for (offset, time) in (1..).zip(&times[1..]) {
            let off = (line.arrival(offset).unwrap().at - time).abs();
            prop_assert!(off <= INTERVAL / 2 + 1, "{offset} of {}: off by {off} ms", times.len());
        }
    }

    #[test]
    fn a_producers_clock_cannot_move_a_record_out_of_the_time_in_which_it_was_seen_to_arrive(wrong in any::<i32>()) {
        let times: Vec<i64> = (0..100).map(|record| 1_000_000 + record * 1_000).collect();
        let mut line = sampled(&times, 1_000_000);
        line.learn(50, i64::from(wrong) * 1_000);
        for (offset, time) in (1..).zip(&times[1..]) {
            let off = (line.arrival(offset).unwrap().at - time).abs();
            prop_assert!(off <= INTERVAL, "{offset}: off by {off}");
        }
    }
}

#[test]
fn a_quiet_hour_is_no_part_of_a_records_age() {
    let mut line = Timeline::default();
    for minute in 0..60 {
        line.sample(7, minute * 60_000);
    }
    line.sample(8, 59 * 60_000 + 5_000);
    assert_eq!(line.arrival(7), Some(Arrival { at: 59 * 60_000 + 2_500, within: 5_000 }));
    assert_eq!(line.0.len(), 2, "quiet costs nothing");
}

#[test]
fn records_that_came_at_once_are_not_taken_to_have_come_evenly() {
    for came in [5_001, 7_500, 10_000] {
        let mut line = Timeline::default();
        for (end, now) in [(0, 0), (0, 5_000), (30, 10_000)] {
            line.sample(end, now);
        }
        for offset in 0..30 {
            let off = (line.arrival(offset).unwrap().at - came).abs();
            assert!(off <= 3_750, "{offset}: off by {off}");
        }
    }
}

#[test]
fn before_the_first_sample_and_behind_the_end_nothing_is_known() {
    let mut line = Timeline::default();
    assert_eq!(line.arrival(0), None);
    line.sample(10, 0);
    assert_eq!((line.arrival(9), line.arrival(10)), (None, None));
    line.learn(4, -60_000);
    assert_eq!(line.arrival(4), Some(Arrival { at: -60_000, within: 0 }));
    assert_eq!(line.arrival(3), None);
    let between = line.arrival(7).unwrap();
    assert!((-60_000..0).contains(&between.at) && between.within == 60_000, "{between:?}");
    line.learn(9, -1_000);
    assert_eq!(line.arrival(9), Some(Arrival { at: -1_000, within: 0 }), "the last before the first sample");
    line.learn(99, 5);
    assert_eq!(line.arrival(99), None, "it has not arrived");
}

#[test]
fn an_end_that_went_back_takes_what_was_behind_it_along() {
    let mut line = Timeline::default();
    for (end, now) in [(10, 0), (20, 5_000), (30, 10_000), (15, 15_000), (16, 20_000)] {
        line.sample(end, now);
    }
    assert_eq!(line.arrival(16), None);
    assert_eq!(line.arrival(15), Some(Arrival { at: 17_500, within: 5_000 }));
    assert_eq!(line.arrival(12), Some(Arrival { at: 7_500, within: 15_000 }), "since the sample at 10");
    line.sample(3, 25_000);
    assert_eq!(line.arrival(12), None, "a topic made anew");
}
