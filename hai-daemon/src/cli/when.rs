//! `hai when`: by when a task will likely start.

use chrono::{DateTime, Local, Utc};
use hai_core::explain::forecast::{P90_ROLLOUTS_MIN, UNTOLD};
use hai_core::model::TaskId;

use super::client::Client;
use super::error::CliError;
use super::output::{Printer, Tone, ago, clean, humane};
use crate::api::wire::Forecast;

/// `hai when`
///
/// # Errors
/// [`CliError`].
pub(super) fn when(task: TaskId, client: &Client, printer: &Printer) -> Result<(), CliError> {
    let answer = client.get(&format!("/v1/tasks/{task}/when"), &())?;
    if printer.json {
        return printer.answer(&answer);
    }
    let said: Forecast = answer.parse()?;
    let waits = said.running_since.is_none();
    let state = printer.toned(said.state.word(), if waits { Tone::Waiting } else { Tone::Plain });
    printer.line(format!("task {task} is {state}: {}", sentence(&said, Utc::now())))?;
    for doubt in said.doubts.iter().filter(|_| waits) {
        printer.line(printer.toned(&format!("  may be wrong: {}", clean(doubt)), Tone::Dim))?;
    }
    Ok(())
}

/// What was forecast, with times as this machine's clock shows them.
fn sentence(said: &Forecast, now: DateTime<Utc>) -> String {
    let horizon = moment(said.horizon, now);
    let by = match (said.running_since, said.p50, said.p90) {
        // The minute in which that was, not the one in which it is over.
        (Some(since), ..) => {
            let minute = since - chrono::TimeDelta::milliseconds(since.timestamp_millis().rem_euclid(60_000));
            return format!("it has its place since {} ({})", moment(minute, now), ago(since));
        }
        (None, Some(p50), Some(p90)) if !said.tried => {
            let (p50, p90) = (moment(p50.max(now), now), moment(p90.max(now), now));
            format!("probably by {p50}, in nine of ten rollouts by {p90}")
        }
        (None, Some(p50), Some(p90)) => {
            format!("likely by {}, nearly surely by {}", moment(p50.max(now), now), moment(p90.max(now), now))
        }
        (None, Some(p50), None) if said.rollouts < P90_ROLLOUTS_MIN => {
            let by = moment(p50.max(now), now);
            format!("likely by {by}; more can not be told, as too few rollouts were made")
        }
        (None, Some(p50), None) => format!("likely by {}, but maybe not by {horizon}", moment(p50.max(now), now)),
        _ if said.never.is_some() => return humane(&clean(&said.sentence), now),
        _ if said.rollouts == 0 => return UNTOLD.to_owned(),
        _ => format!("probably not by {horizon}"),
    };
    let sources = &said.durations;
    format!(
        "{by} (p50/p90 of {} rollouts; durations: {} given, {} learned, {} guessed)",
        said.rollouts, sources.given, sources.learned, sources.guessed
    )
}

/// The minute in which it is over, with the day unless that is today.
fn moment(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let up = time + chrono::TimeDelta::milliseconds((60_000 - time.timestamp_millis().rem_euclid(60_000)) % 60_000);
    let (up, now) = (up.with_timezone(&Local), now.with_timezone(&Local));
    let form = if up.date_naive() == now.date_naive() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    up.format(form).to_string()
}

#[cfg(test)]
mod tests {
    use hai_core::explain::forecast as core;
    use hai_core::model::{Span, TaskState, Time, Verdict};

    use super::*;

    fn said(p50: Option<u64>, p90: Option<u64>) -> core::Forecast {
        let at = Time::from_ms(1_795_000_000_000);
        let time = |minutes: Option<u64>| minutes.map(|minutes| at + Span::from_mins(minutes));
        core::Forecast {
            task: TaskId(7),
            at,
            running_since: None,
            p50: time(p50),
            p90: time(p90),
            uncorrected: None,
            never: None,
            rollouts: 64,
            started_in: 64,
            horizon: at + Span::from_mins(30 * 24 * 60),
            durations: core::Sources { given: 12, learned: 30, guessed: 4 },
            doubts: Vec::new(),
        }
    }

    fn told(said: &core::Forecast) -> String {
        sentence(&Forecast::of(said, TaskState::Waiting), said.at.to_utc().expect("a time"))
    }

    #[test]
    fn it_is_told_by_the_readers_clock() {
        let both = said(Some(65), Some(90 + 24 * 60));
        let local = |time: Option<Time>, form: &str| {
            let time = time.and_then(Time::to_utc).expect("a time") + chrono::TimeDelta::seconds(59);
            time.with_timezone(&Local).format(form).to_string()
        };
        let late = both.p50.and_then(Time::to_utc).expect("a time").with_timezone(&Local).date_naive()
            != both.at.to_utc().expect("a time").with_timezone(&Local).date_naive();
        let first = local(both.p50, if late { "%Y-%m-%d %H:%M" } else { "%H:%M" });
        let second = local(both.p90, "%Y-%m-%d %H:%M");
        assert_eq!(
            told(&both),
            format!(
                "likely by {first}, nearly surely by {second} (p50/p90 of 64 rollouts; durations: 12 given, 30 \
                 learned, 4 guessed)"
            )
        );
        assert!(told(&said(Some(65), None)).contains(", but maybe not by 20"));
        assert!(told(&said(None, None)).starts_with("probably not by 20"));
        let few = core::Forecast { rollouts: 3, started_in: 3, ..said(Some(65), None) };
        assert!(told(&few).contains("; more can not be told"), "{}", told(&few));
        let none = core::Forecast { rollouts: 0, started_in: 0, ..said(None, None) };
        assert_eq!(told(&none), UNTOLD);
        let never = core::Forecast { never: Some(Verdict::Held), ..said(None, None) };
        assert!(told(&never).starts_with("never as things are: "), "{}", told(&never));
    }
}
