//! A fixed amount of the engine's work, for counting instructions: `valgrind --tool=callgrind` around it gives the same
//! number on a busy machine as on an idle one. Arguments: nodes, and how many tasks end and are replaced.

use hai_benches::{Lab, task, user};
use hai_core::engine::EngineConfig;
use hai_core::model::Priority;

fn main() {
    let mut numbers = std::env::args().skip(1).map(|word| word.parse().expect("a number"));
    let nodes = numbers.next().unwrap_or(100);
    let replaced = numbers.next().unwrap_or(0);
    let mut lab = Lab::full(EngineConfig::default(), nodes);
    for _ in 0..replaced {
        lab.finish(0);
        lab.submit(task(user(7), Priority::Low, 1));
        assert_eq!(lab.round().actions().count(), 1);
    }
}
