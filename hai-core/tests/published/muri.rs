//! Muri's traces on 64 devices, to the printed digit.

use hai_core::published::muri::{MuriCluster, MuriPolicy, MuriTotals, jobs_of, play};
use hai_core::trace::MuriTrace;

use super::files::shared;

fn totals(trace: &str, at_once: bool, policy: MuriPolicy) -> Option<MuriTotals> {
    let text = shared(&format!("muri-philly/{trace}.csv.gz"))?;
    let rows: Vec<_> = MuriTrace::open(&text[..]).unwrap().map(Result::unwrap).collect();
    let jobs = jobs_of(&rows, at_once);
    let outcomes = play(&jobs, MuriCluster::PUBLISHED, policy);
    let totals = MuriTotals::of(&jobs, &outcomes);
    assert_eq!(totals.ended, rows.len());
    Some(totals)
}

#[test]
fn muri_trace3_is_met_to_the_printed_digit() {
    let published = [
        (MuriPolicy::SRTF, "193081.796 8174135 4538891"),
        (MuriPolicy::SRSF, "185021.880 8174135 4189699"),
        (MuriPolicy::TIRESIAS_L, "347213.248 8174226 4983397"),
    ];
    for (policy, theirs) in published {
        let Some(ours) = totals("trace3", false, policy) else { return };
        assert_eq!(format!("{:.3} {:.0} {:.0}", ours.jct_mean, ours.makespan, ours.jct_p99), theirs, "{policy:?}");
    }
}

#[test]
fn muri_other_traces_end_with_every_job() {
    for trace in ["trace1", "trace2", "trace3"] {
        for (_, policy) in MuriPolicy::PUBLISHED {
            totals(trace, false, policy);
            totals(trace, true, policy);
        }
    }
}
