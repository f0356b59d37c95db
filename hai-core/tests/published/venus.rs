//! Helios's cluster Venus in September 2020, job by job.

use hai_core::published::helios::{HeliosJob, Outcome, Rules, Ties, Totals, Window, jobs_of, oracle, play};
use hai_core::trace::{HeliosTrace, virtual_clusters};

use super::files::shared;

fn venus() -> Option<(Vec<HeliosJob>, Vec<u32>)> {
    let trace = shared("helios-venus-sept/venus_sept.csv.gz")?;
    let clusters = virtual_clusters(&shared("helios-venus-sept/vc_config.csv")?[..]).unwrap();
    let rows: Vec<_> = HeliosTrace::open(&trace[..]).unwrap().map(Result::unwrap).collect();
    let jobs = jobs_of(&rows, &clusters, Some(Window::VENUS_SEPTEMBER));
    assert_eq!(jobs.len(), 23_859);
    Some((jobs, clusters.iter().map(|vc| vc.nodes).collect()))
}

/// What Lucid's own simulator made of every job.
fn theirs(policy: &str, jobs: &[HeliosJob]) -> Option<Vec<Outcome>> {
    let by_number = oracle(&shared(&format!("helios-venus-sept/oracle_{policy}.csv.gz"))?[..]).unwrap();
    assert_eq!(by_number.len(), jobs.len());
    Some(jobs.iter().map(|job| by_number[&job.number]).collect())
}

fn same_for_every_job(policy: &str, rules: &Rules) {
    let Some((jobs, nodes)) = venus() else { return };
    let played = play(&jobs, &nodes, rules);
    let Some(theirs) = theirs(policy, &jobs) else { return };
    let wrong: Vec<_> =
        jobs.iter().zip(&played.outcomes).zip(&theirs).filter(|((_, ours), theirs)| ours != theirs).collect();
    assert!(wrong.is_empty(), "{} of {} jobs differ, the first: {:#?}", wrong.len(), jobs.len(), wrong[0]);
}

#[test]
fn venus_fifo_is_the_same_for_every_job() {
    same_for_every_job("fifo", &Rules::FIFO);
}

#[test]
fn venus_tiresias_is_the_same_for_every_job() {
    same_for_every_job("tiresias", &Rules::TIRESIAS);
}

#[test]
fn venus_meets_the_published_table() {
    let Some((jobs, nodes)) = venus() else { return };
    let totals = |rules: &Rules| {
        let played = play(&jobs, &nodes, rules);
        let totals = Totals::of(&jobs, &played.outcomes, Window::VENUS_SEPTEMBER.from);
        assert_eq!(totals.ended, 23_859);
        totals
    };
    let row = |t: &Totals| {
        let parts = [t.jct_p50, t.jct_p99, t.queue_p99, t.queue_p999, t.jct_small, t.jct_large];
        (
            format!("{:.2} {:.2}", t.jct_mean, t.queue_mean),
            parts.map(|part| format!("{part:.0}")),
            t.queued,
            t.preemptions,
        )
    };
    let parts = |text: [&str; 6]| text.map(String::from);
    let fifo = totals(&Rules::FIFO);
    let theirs = parts(["24474", "408216", "234786", "587041", "70386", "35845"]);
    assert_eq!(row(&fifo), ("66850.87 55081.60".into(), theirs, 15_400, 0));
    assert_eq!(fifo.makespan, 3_354_078);
    let tiresias = totals(&Rules::TIRESIAS);
    let theirs = parts(["246", "287485", "67165", "199407", "13905", "21863"]);
    assert_eq!(row(&tiresias), ("14719.89 2935.93".into(), theirs, 23_450, 7_420));
    assert_eq!(tiresias.makespan, 3_354_136);
    let srtf = totals(&Rules::SRTF_HELIOS);
    assert_eq!((row(&srtf).0.as_str(), srtf.preemptions), ("12622.88 845.50", 6_501));
    assert_eq!(format!("{:.1}", totals(&Rules::SJF).jct_mean), "21095.0");
}

#[test]
fn venus_first_come_first_served_fills_as_much_as_was_published() {
    let Some((jobs, nodes)) = venus() else { return };
    let window = Window::VENUS_SEPTEMBER;
    let occupancy = play(&jobs, &nodes, &Rules::FIFO).occupancy(&jobs, 1064, window.from, window.until);
    assert_eq!(format!("{occupancy:.4}"), "0.8278");
}

#[test]
fn venus_by_number_of_the_job_is_another_first_come_first_served() {
    let Some((jobs, nodes)) = venus() else { return };
    for (rules, jct, queue) in [(Rules::FIFO, "64161.6", "52392.3"), (Rules::TIRESIAS, "14699.9", "2915.9")] {
        let played = play(&jobs, &nodes, &Rules { ties: Ties::Number, ..rules });
        let totals = Totals::of(&jobs, &played.outcomes, 0);
        assert_eq!((&*format!("{:.1}", totals.jct_mean), &*format!("{:.1}", totals.queue_mean)), (jct, queue));
    }
}
