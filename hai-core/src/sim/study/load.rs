//! The work that is played: the jobs of a trace, cut and changed as asked, kept small.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{Devices, GroupName, Span, TaskSpec, Time, UserName, WorkerRequest};
use crate::placement::policy::{Fgd, Typical};
use crate::sim::{SplitMix64, Work};
use crate::trace::Job;

/// A list of tasks by time of submission; task `n` of the simulation is number `n - 1` of it.
#[derive(Clone, Debug, Default)]
pub struct Load {
    tasks: Vec<Task>,
    specs: Specs,
}

/// One task.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its name in the trace.
    pub name: Box<str>,
    /// Its line in the file.
    pub line: u64,
    /// When it is submitted.
    pub submit: Time,
    /// What is asked, shared among tasks that ask alike; the name in it is no one's.
    pub spec: Arc<TaskSpec>,
    /// What is in it.
    pub work: Work,
}

impl Task {
    /// What it asks for in thousandths of devices, with all workers; a whole node counts as so many devices, and a part that
    /// is said in memory as half a device, since what part it is depends on the card.
    #[must_use]
    pub fn milli(&self, node_devices: u64) -> u64 {
        let each = match self.spec.request.devices {
            Devices::WholeNode => node_devices * 1000,
            Devices::Count(count) => u64::from(count) * 1000,
            Devices::Share(milli) => u64::from(milli),
            Devices::Memory(_) => 500,
        };
        each * u64::from(self.spec.workers)
    }
}

/// Keeps what many tasks have alike only once.
#[derive(Clone, Debug, Default)]
struct Specs {
    known: BTreeMap<(UserName, GroupName, WorkerRequest, u32), Arc<TaskSpec>>,
}

/// The name of every shared spec.
const NAMELESS: &str = "task";

impl Specs {
    fn share(&mut self, mut spec: TaskSpec) -> (Box<str>, Arc<TaskSpec>) {
        let name = std::mem::replace(&mut spec.name, NAMELESS.to_owned()).into_boxed_str();
        let key = (spec.user.clone(), spec.group.clone(), spec.request.clone(), spec.workers);
        match self.known.get(&key) {
            Some(known) if **known == spec => (name, Arc::clone(known)),
            _ => {
                let spec = Arc::new(spec);
                self.known.insert(key, Arc::clone(&spec));
                (name, spec)
            }
        }
    }
}

impl Load {
    /// Adds a job; [`Load::sort`] must follow if they do not come by time.
    pub fn push(&mut self, job: Job) {
        let (name, spec) = self.specs.share(job.spec);
        self.tasks.push(Task { name, line: job.line, submit: job.submit, spec, work: job.work });
    }

    /// Puts them in the order of time; those of one time stay as they came.
    pub fn sort(&mut self) {
        self.tasks.sort_by_key(|task| task.submit);
    }

    /// The tasks.
    #[must_use]
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// When the first is submitted.
    #[must_use]
    pub fn first(&self) -> Option<Time> {
        self.tasks.first().map(|task| task.submit)
    }

    /// When the last is submitted.
    #[must_use]
    pub fn last(&self) -> Option<Time> {
        self.tasks.last().map(|task| task.submit)
    }

    /// Only what is submitted from `from` on and before `until`, both counted from the first submission.
    #[must_use]
    pub fn window(mut self, from: Span, until: Option<Span>) -> Self {
        let Some(first) = self.first() else { return self };
        let inside = |at: Time| at >= first + from && until.is_none_or(|until| at < first + until);
        self.tasks.retain(|task| inside(task.submit));
        self
    }

    /// The same tasks so many thousandths times as densely: what is 1000 s after the first comes, at 2000, after 500 s.
    #[must_use]
    pub fn denser(mut self, milli: u32) -> Self {
        let Some(first) = self.first() else { return self };
        for task in &mut self.tasks {
            let after = u128::from(task.submit.since(first).as_ms()) * 1000 / u128::from(milli.max(1));
            task.submit = first + Span::from_ms(u64::try_from(after).unwrap_or(u64::MAX));
        }
        self
    }

    /// Every submission is put off by a time below `most`, drawn from the seed: many seeds tell how much of a result is
    /// owed to who happened to come a moment before whom.
    #[must_use]
    pub fn jittered(mut self, most: Span, seed: u64) -> Self {
        let mut random = SplitMix64::new(seed).split(JITTER);
        for task in &mut self.tasks {
            task.submit += Span::from_ms(random.below(most.as_ms()));
        }
        self.sort();
        self
    }

    fn each(self, mut change: impl FnMut(&mut TaskSpec, &Work)) -> Self {
        let mut changed = Load::default();
        for task in self.tasks {
            let mut spec = TaskSpec::clone(&task.spec);
            spec.name = task.name.into_string();
            change(&mut spec, &task.work);
            changed.push(Job { line: task.line, submit: task.submit, spec, work: task.work });
        }
        changed
    }

    /// All ask for this group.
    #[must_use]
    pub fn one_group(self, group: &GroupName) -> Self {
        self.each(|spec, _| spec.group = group.clone())
    }

    /// The kinds of worker that make up 95 of 100 of the work, at most so many: what [`Fgd`] expects, and how fragmentation is
    /// measured. Work on processors alone is among them, as its authors have it.
    #[must_use]
    pub fn typical(&self) -> Vec<Typical> {
        let mut counts: BTreeMap<&WorkerRequest, u32> = BTreeMap::new();
        for task in &self.tasks {
            let count = counts.entry(&task.spec.request).or_default();
            *count = count.saturating_add(task.spec.workers);
        }
        let mut typical = Fgd::typical(counts.into_iter().map(|(request, count)| (request.clone(), count)));
        typical.truncate(TYPICAL_MAX);
        typical
    }

    /// The same work with every task a user's of its own, in the order of the list. Where a trace does not say whose its tasks
    /// are, all are one user's otherwise, and nobody's own work makes room for the same user's.
    ///
    /// # Panics
    /// Never: such names are plain.
    #[must_use]
    pub fn strangers(self) -> Self {
        let mut number = 0_u64;
        self.each(|spec, _| {
            number += 1;
            spec.user = UserName::new(format!("user-{number}")).expect("letters, a dash and digits are a name");
        })
    }

    /// As if everybody said truly how long his work runs.
    #[must_use]
    pub fn foretold(self) -> Self {
        self.each(|spec, work| spec.expected = Some(work.needs))
    }
}

/// How many kinds of work fragmentation is judged by.
const TYPICAL_MAX: usize = 32;
/// The stream of [`Load::jittered`].
const JITTER: u64 = 1 << 40;
