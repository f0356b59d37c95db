//! What can be asked of the engine, a few lines each, and what it decides.
//!
//! `cargo run -p hai-examples --example requests`. Each function below is one thing that can be asked; what it returns is
//! what was decided, in words, and is what its test expects.

mod lab;
mod life;
mod order;
mod placement;
mod request;
mod rights;

/// What was decided, one line each.
type Told = Vec<String>;
/// What it shows, and how.
type Example = (&'static str, fn() -> Told);

fn main() {
    let all: [(&str, &[Example]); 5] = [
        ("What a task can ask for", request::ALL),
        ("What happens to it", life::ALL),
        ("What its owner may have", rights::ALL),
        ("Whose turn it is", order::ALL),
        ("Where it goes", placement::ALL),
    ];
    for (heading, examples) in all {
        println!("{heading}");
        for (name, example) in examples {
            println!("  {name}");
            example().iter().for_each(|line| println!("    {line}"));
        }
    }
}
