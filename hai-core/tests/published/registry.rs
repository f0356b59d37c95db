//! The experiments on job lists as they are asked for by name.

use std::collections::BTreeMap;
use std::io::{self, Read};

use hai_core::published::{Choice, Experiment, ExperimentError, Files};

use super::files::shared;

/// The folder with whole traces, and files laid over it.
#[derive(Default)]
struct Folder(BTreeMap<&'static str, Vec<u8>>);

impl Files for Folder {
    fn open(&mut self, path: &str) -> io::Result<Box<dyn Read>> {
        let laid = self.0.get(path).cloned();
        let bytes = laid.or_else(|| shared(path)).or_else(|| shared(&format!("{path}.gz")));
        let bytes = bytes.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it is not there"))?;
        Ok(Box::new(io::Cursor::new(bytes)))
    }
}

#[test]
fn experiments_on_job_lists_are_met() {
    for (name, figures) in [("venus", 32), ("muri-trace3", 9), ("kth-easy", 8), ("batsim-medium-late", 10)] {
        let experiment = Experiment::find(name).unwrap();
        let there = |file: &&str| shared(file).or_else(|| shared(&format!("{file}.gz"))).is_some();
        if !experiment.files.iter().all(there) {
            continue;
        }
        let outcome = experiment.play(&mut Folder::default(), &Choice::default()).unwrap();
        let missed: Vec<_> = outcome.figures.iter().filter(|figure| !figure.is_met()).collect();
        assert!(missed.is_empty(), "{name}: {missed:#?}");
        assert!(outcome.figures.len() >= figures, "{name}: {} figures", outcome.figures.len());
    }
}

fn laid() -> Folder {
    let venus = "row,job_id,user,vc,gpu_num,submit_time,duration\n0,1,a,v,8,13219200,50\n1,2,a,v,8,13219201,60\n\
                 2,3,b,v,8,13219202,20\n3,4,b,elsewhere,8,13219202,20\n4,5,b,v,0,13219202,20\n5,6,b,v,1,13219199,9\n";
    let files = [
        ("helios-venus-sept/venus_sept.csv", venus),
        ("helios-venus-sept/vc_config.csv", ",num\nv,1\n"),
        ("helios-venus-sept/predictions.csv", "job_id,pred_lgb\n1,50\n2,10\n3,20\n"),
        (
            "helios-venus-sept/oracle_fifo.csv",
            "job_id,start,end,queue,preemptions\n1,13219200,13219250,0,0\n\
          2,13219250,13219310,49,0\n3,13219310,13219331,108,0\n",
        ),
        ("swf/tiny.swf", "; MaxProcs: 4\n1 0 -1 10 4 -1 -1 4 20 -1 1 1 1 -1 -1 -1 -1 -1\n"),
        ("swf/broken.swf", "; MaxProcs: 4\n1 0 -1 10 4 -1 -1 four 20 -1 1 1 1 -1 -1 -1 -1 -1\n"),
        ("swf/free.swf", "1 0 -1 10 4 -1 -1 4 20 -1 1 1 1 -1 -1 -1 -1 -1\n"),
        ("muri-philly/none.csv", "job_id,num_gpu,submit_time,iterations,model_name,iteration_time\n"),
    ];
    Folder(files.into_iter().map(|(name, text)| (name, text.into())).collect())
}

fn play(name: &str, variant: Option<&str>, policies: &[&str]) -> Result<Vec<(String, f64)>, String> {
    play_over(laid(), name, variant, policies)
}

fn play_over(
    mut files: Folder,
    name: &str,
    variant: Option<&str>,
    policies: &[&str],
) -> Result<Vec<(String, f64)>, String> {
    let policies = policies.iter().map(|&policy| policy.into()).collect();
    let choice = Choice { variant: variant.map(Into::into), policies, ..Choice::default() };
    let outcome = Experiment::find(name).unwrap().play(&mut files, &choice).map_err(|error| error.to_string())?;
    let figures = outcome.figures.into_iter().map(|figure| (figure.name, figure.ours));
    Ok(figures.chain(outcome.measures.into_iter().map(|measure| (measure.name, measure.value))).collect())
}

#[test]
fn what_lies_beside_a_trace_is_used() {
    let told = play("venus", None, &["fifo", "qssf"]).unwrap();
    let value = |name: &str| told.iter().find(|(told, _)| told == name).map(|(_, value)| *value);
    // The third ends a second later in the results laid beside it.
    assert_eq!(value("fifo: jobs that differ"), Some(1.0));
    assert_eq!(value("fifo: mean queue"), Some((49.0 + 108.0) / 3.0));
    // By prediction the second comes before the third all the same.
    assert_eq!(value("qssf: mean queue"), Some((49.0 + 108.0) / 3.0));
    assert_eq!(value("qssf: jobs that differ"), None);
}

#[test]
fn what_is_wrong_is_said_with_file_line_and_column() {
    assert_eq!(
        play("kth-easy", Some("broken"), &[]).unwrap_err(),
        "swf/broken.swf: line 2, column procs requested: \"four\" is no number: invalid float literal"
    );
    let free = play("kth-easy", Some("free"), &[]).unwrap_err();
    assert_eq!(free, "swf/free.swf does not say how many processors there are (MaxProcs)");
    assert!(play("kth-easy", Some("../x"), &[]).unwrap_err().contains("is no name of a workload"));
    let unknown = play("kth-easy", Some("tiny"), &["lottery"]).unwrap_err();
    assert!(unknown.starts_with("the policy lottery is not known here; there are fcfs, easy"), "{unknown}");
    assert!(play("venus", Some("winter"), &[]).unwrap_err().contains("september, april-may"));
    let experiment = Experiment::find("muri-trace3").unwrap();
    let choice = Choice { variant: Some("trace9_pr".into()), ..Choice::default() };
    let error = experiment.play(&mut laid(), &choice).unwrap_err();
    assert!(matches!(error, ExperimentError::File { file, .. } if file == "muri-philly/trace9.csv"));
}

#[test]
fn philly_is_played_to_the_end() {
    let Some(_) = shared("philly/philly_jobs.csv.gz") else { return };
    let policies = ["fifo", "srtf", "tiresias", "easy-sjbf-counted"];
    for policy in policies {
        let told = play_over(Folder::default(), "philly", None, &[policy]).unwrap();
        let ended = told.iter().find(|(name, _)| name.ends_with("jobs that ended")).unwrap().1;
        assert_eq!(ended, 68_503.0, "{policy}");
        eprintln!("{told:?}");
    }
}

#[test]
fn small_and_empty_workloads_are_played() {
    let told = play("kth-easy", Some("tiny"), &["easy"]).unwrap();
    assert!(told.contains(&("easy: mean flow".into(), 10.0)) && told.contains(&("easy: jobs that ended".into(), 1.0)));
    let told = play("muri-trace3", Some("none_pr"), &[]).unwrap();
    assert!(told.contains(&("srtf: jobs that ended".into(), 0.0)), "{told:?}");
}
