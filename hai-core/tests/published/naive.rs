//! The Helios family played second by second, as the published simulators do it and with no thought of speed; what is
//! played from event to event must come to the same.

use hai_core::published::helios::{HeliosJob, Outcome, Overhead, Rules, Selection, Ties, Turn, Walk, play};
use proptest::prelude::*;

/// When the naive one gives up.
const LAST: i64 = 30_000;

#[derive(Clone)]
struct Job {
    at: usize,
    gpus: u32,
    submit: i64,
    predicted: f64,
    remain: i64,
    attained: u64,
    since: i64,
    place: Vec<(usize, u32)>,
}

/// Where a job goes, or `None`.
fn place(free: &mut [u32], need: u32) -> Option<Vec<(usize, u32)>> {
    if free.iter().sum::<u32>() < need {
        return None;
    }
    let mut nodes: Vec<usize> = (0..free.len()).filter(|&node| free[node] > 0).collect();
    let mut place = Vec::new();
    if need <= 8 {
        nodes.sort_by_key(|&node| free[node]);
        place.push((*nodes.iter().find(|&&node| free[node] >= need)?, need));
    } else {
        nodes.sort_by_key(|&node| std::cmp::Reverse(free[node]));
        let mut rest = need;
        for &node in &nodes {
            let part = rest.min(8);
            if part == 0 {
                break;
            }
            if free[node] < part {
                return None;
            }
            place.push((node, part));
            rest -= part;
        }
        if rest > 0 {
            return None;
        }
    }
    for &(node, part) in &place {
        free[node] -= part;
    }
    Some(place)
}

fn naive(jobs: &[HeliosJob], nodes: u32, rules: &Rules) -> Vec<Outcome> {
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|&at| (jobs[at].submit, if rules.ties == Ties::Number { jobs[at].number } else { 0 }));
    let mut coming = order.into_iter().peekable();
    let mut free = vec![8; nodes as usize];
    let (mut queue, mut running): (Vec<Job>, Vec<Job>) = (Vec::new(), Vec::new());
    let mut outcomes = vec![Outcome::default(); jobs.len()];
    for now in 0..LAST {
        let (mut ended, mut going) = (Vec::new(), Vec::new());
        for mut job in running {
            let over = job.remain == 0;
            if !over {
                job.remain -= 1;
                job.attained += u64::from(job.gpus);
            }
            let ends = if rules.late_end { over } else { job.remain == 0 };
            if ends { &mut ended } else { &mut going }.push(job);
        }
        running = going;
        for job in ended {
            outcomes[job.at].end = Some(now);
            job.place.iter().for_each(|&(node, part)| free[node] += part);
        }
        let mut arrived = 0;
        while let Some(at) = coming.next_if(|&at| jobs[at].submit == now) {
            let job = &jobs[at];
            let (gpus, submit, predicted) = (job.gpus, job.submit, job.predicted.unwrap());
            let place = Vec::new();
            queue.push(Job { at, gpus, submit, predicted, remain: job.duration, attained: 0, since: now, place });
            arrived += 1;
        }
        if now % i64::from(rules.tick) != 0 {
            continue;
        }
        let start = |mut job: Job, free: &mut [u32], outcomes: &mut [Outcome]| match place(free, job.gpus) {
            None => Err(job),
            Some(place) => {
                outcomes[job.at].start.get_or_insert(now);
                outcomes[job.at].queue += now - job.since;
                (job.place, job.since) = (place, now);
                Ok(job)
            }
        };
        let Some(overhead) = rules.preemption else {
            match rules.turn {
                Turn::Submission => queue.sort_by_key(|job| job.submit),
                Turn::Duration => queue.sort_by_key(|job| job.remain),
                _ => {
                    queue.sort_by_key(|job| job.gpus);
                    if queue.len() > arrived {
                        let priority = |job: &Job| job.predicted * f64::from(job.gpus);
                        queue.sort_by(|one, other| priority(one).total_cmp(&priority(other)));
                    }
                }
            }
            let mut left = Vec::new();
            let mut blocked = false;
            for job in queue {
                match if blocked { Err(job) } else { start(job, &mut free, &mut outcomes) } {
                    Ok(job) => running.push(job),
                    Err(job) => {
                        blocked |= rules.walk == Walk::Blocking;
                        left.push(job);
                    }
                }
            }
            queue = left;
            continue;
        };
        let waits = |job: &Job| (job.clone(), false);
        let runs = |job: &Job| (job.clone(), true);
        let mut all: Vec<(Job, bool)>;
        if let Turn::Attained { limit } = rules.turn {
            all = running.iter().map(runs).chain(queue.iter().map(waits)).collect();
            all.sort_by_key(|(job, _)| (job.attained > limit, job.submit));
        } else {
            all = queue.iter().map(waits).chain(running.iter().map(runs)).collect();
            all.sort_by_key(|(job, _)| job.remain);
        }
        let mut quota = nodes * 8;
        let (mut out, mut tried) = (Vec::new(), Vec::new());
        for (job, runs) in all {
            if job.gpus <= quota {
                quota -= job.gpus;
                if !runs {
                    tried.push(job.at);
                }
            } else if runs {
                out.push(job.at);
            }
        }
        for at in out {
            let mut job = running.remove(running.iter().position(|job| job.at == at).unwrap());
            job.place.drain(..).for_each(|(node, part)| free[node] += part);
            outcomes[at].preemptions += 1;
            job.remain += i64::from(match job.gpus {
                1 => overhead.single,
                2..=8 => overhead.node,
                _ => overhead.nodes,
            });
            job.since = now;
            queue.push(job);
        }
        for at in tried {
            let place = queue.iter().position(|job| job.at == at).unwrap();
            match start(queue.remove(place), &mut free, &mut outcomes) {
                Ok(job) => running.push(job),
                Err(job) => queue.insert(place, job),
            }
        }
    }
    outcomes
}

fn rules() -> impl Strategy<Value = Rules> {
    let attained = (1_u64..600).prop_map(|limit| Turn::Attained { limit });
    let preempting = (
        prop_oneof![Just(Turn::Duration), attained],
        prop_oneof![Just(Overhead::NONE), Just(Overhead::LUCID), Just(Overhead::HELIOS)],
    );
    let preempting =
        preempting.prop_map(|(turn, overhead)| Rules { turn, preemption: Some(overhead), ..Rules::SRTF_LUCID });
    let waiting = prop_oneof![Just(Rules::FIFO), Just(Rules::SJF), Just(Rules::QSSF)];
    let waiting = (waiting, prop_oneof![Just(Walk::Blocking), Just(Walk::Skipping)]).prop_map(|(rules, walk)| Rules {
        walk: if rules.turn == Turn::Predicted { Walk::Blocking } else { walk },
        ..rules
    });
    (prop_oneof![preempting, waiting], prop_oneof![Just(1_u32), Just(7), Just(60)], any::<bool>(), any::<bool>())
        .prop_map(|(rules, tick, late_end, number)| Rules {
            tick,
            late_end,
            ties: if number { Ties::Number } else { Ties::Listed },
            ..rules
        })
}

fn jobs() -> impl Strategy<Value = (u32, Vec<HeliosJob>)> {
    (1_u32..4).prop_flat_map(|nodes| {
        let size = prop_oneof![3 => 1..9_u32, 1 => 1..=nodes * 8];
        let job = (size, 0..120_i64, prop_oneof![1..20_i64, 1..200_i64], 1..9_u32, 0..99_u64);
        let list = proptest::collection::vec(job, 1..25).prop_map(|list| {
            list.into_iter()
                .map(|(gpus, submit, duration, predicted, number)| {
                    let predicted = Some(f64::from(predicted));
                    HeliosJob { number, user: 0, vc: 0, gpus, submit, duration, predicted }
                })
                .collect()
        });
        (Just(nodes), list)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn from_event_to_event_comes_to_the_same_as_second_by_second((nodes, jobs) in jobs(), rules in rules()) {
        let mut ours = play(&jobs, &[nodes], &rules).outcomes;
        let theirs = naive(&jobs, nodes, &rules);
        // What the naive one had no time for.
        for (ours, theirs) in ours.iter_mut().zip(&theirs) {
            if theirs.end.is_none() && ours.end.is_none_or(|end| end >= LAST) {
                *ours = *theirs;
            }
        }
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn by_places_nobody_is_preempted_in_vain((nodes, jobs) in jobs(), rules in rules()) {
        let Some(_) = rules.preemption else { return Ok(()) };
        let played = play(&jobs, &[nodes], &Rules { selection: Selection::Place, ..rules });
        for (at, outcome) in played.outcomes.iter().enumerate() {
            prop_assert!(outcome.end.is_some(), "{at} never ended");
            let held: i64 = played.stretches.iter().filter(|s| s.job == at).map(|s| s.until - s.from).sum();
            prop_assert!(held >= jobs[at].duration);
        }
        // At every moment at which somebody leaves, somebody starts.
        for left in played.stretches.iter().filter(|s| played.outcomes[s.job].end != Some(s.until)) {
            prop_assert!(played.stretches.iter().any(|s| s.from == left.until), "{left:?} was in vain");
        }
    }
}
