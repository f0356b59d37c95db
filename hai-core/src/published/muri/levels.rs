//! Tiresias in three levels, by the count of devices.

use super::{MuriCluster, MuriJob, MuriPlayed, Progress, first_ends, next_event};

pub(super) fn play(jobs: &[MuriJob], cluster: MuriCluster, limits: [f64; 2]) -> MuriPlayed {
    let mut played = MuriPlayed::new(jobs.len());
    let mut progress: Vec<Progress> = jobs.iter().map(Progress::new).collect();
    let mut levels: Vec<usize> = vec![0; jobs.len()];
    // Seconds that each job held its devices, overhead included.
    let mut held: Vec<f64> = vec![0.0; jobs.len()];
    let mut queues: [Vec<usize>; 3] = Default::default();
    let mut runnable: Vec<usize> = Vec::new();
    let mut next = 0;
    let mut ends: Option<(f64, Vec<usize>)> = None;
    // The earliest moment at which a job that runs falls a level.
    let mut fall: Option<f64> = None;
    loop {
        let Some((mut now, mut arrivals, mut ended)) = next_event(jobs, next, ends.clone()) else { return played };
        if let Some(fall) = fall.filter(|fall| *fall < now) {
            (now, arrivals, ended) = (fall, 0, Vec::new());
        }
        for &at in &ended {
            played.end(at, now);
            progress[at].runs = false;
            queues[levels[at]].retain(|&other| other != at);
        }
        runnable.retain(|at| !ended.contains(at));
        runnable.extend(next..next + arrivals);
        queues[0].extend(next..next + arrivals);
        next += arrivals;
        for &at in &runnable {
            if progress[at].runs {
                held[at] = held[at] + now - progress[at].checked;
                let level = levels[at];
                if level < limits.len() && held[at] * f64::from(jobs[at].gpus) >= limits[level] {
                    queues[level].retain(|&other| other != at);
                    queues[level + 1].push(at);
                    levels[at] = level + 1;
                }
            }
            progress[at].pass(&jobs[at], now);
        }
        let mut free = u64::from(cluster.nodes) * u64::from(cluster.per_node);
        for &at in queues.iter().flatten() {
            let need = u64::from(jobs[at].gpus);
            if need <= free {
                free -= need;
                progress[at].runs = true;
                played.runs(at, now);
            } else if progress[at].runs {
                progress[at].runs = false;
                played.preempt(at, now);
            }
        }
        for queue in &mut queues {
            queue.sort_by_key(|&at| !progress[at].runs);
        }
        ends = first_ends(jobs, &progress, &runnable, now);
        let falls = runnable.iter().filter(|&&at| progress[at].runs && levels[at] < limits.len());
        fall = falls
            .map(|&at| (limits[levels[at]] / f64::from(jobs[at].gpus)).ceil() - held[at] + now)
            .min_by(f64::total_cmp)
            // Where rounding leaves a job just short of its limit, time must go on all the same.
            .map(|time| time.max(now.next_up()));
    }
}
