//! What an owner may have: rows for users and teams, what teams lend each other, rights that end or are cut.

use hai_core::engine::EngineConfig;
use hai_core::model::*;

use crate::lab::{Lab, group, model, node, of, task, team, user};
use crate::{Example, Told};

pub(crate) const ALL: &[Example] = &[
    ("a team borrows from another, and gives back", team_borrowing),
    ("a right for one model", right_for_a_model),
    ("a right that is cut, with notice", cut),
];

fn one() -> WorkerRequest {
    WorkerRequest::devices(1)
}

fn of_alice() -> RightKey {
    RightKey { user: Some(user("alice")), ..RightKey::default() }
}

/// Two teams of one laboratory own a device each. What one leaves unused the other may use, until it is wanted back.
fn team_borrowing() -> Told {
    let config = EngineConfig { borrow: true, ..EngineConfig::default() };
    let mut lab = Lab::new(config, [node("a", 2, "RTX 3070", 8)]);
    for (name, member) in [("vision", "alice"), ("speech", "bob")] {
        let own = Allowance::devices(1);
        let pool = Pool { group: group(), own, borrow: Allowance::UNLIMITED, lend: Allowance::UNLIMITED };
        let (parent, members) = (Some(team("lab")), [user(member)].into());
        lab.tell(&Fact::TeamSet { team: Team { name: team(name), parent, members, pools: vec![pool] } });
    }
    for name in ["own", "borrowed"] {
        lab.submit(task(name, one()));
    }
    let mut told = lab.settle();
    lab.submit(of("bob", Priority::Normal, task("wanted back", one())));
    told.extend(lab.settle());
    told
}

/// A row for a model gives nothing, it bounds what other rows give.
fn right_for_a_model() -> Told {
    let mut lab = Lab::new(EngineConfig::default(), [node("a", 2, "A100", 80), node("b", 1, "RTX 3070", 8)]);
    lab.right(RightKey { model: Some(model("A100")), ..of_alice() }, Allowance::devices(1));
    for name in ["first", "second"] {
        let models = vec![model("A100"), model("RTX 3070")];
        lab.submit(task(name, WorkerRequest { models, ..one() }));
    }
    lab.settle()
}

/// What is beyond a right that was cut has a notice, and leaves when its time is over.
fn cut() -> Told {
    let config = EngineConfig { cut_grace: Span::from_mins(5), ..EngineConfig::default() };
    let mut lab = Lab::new(config, [node("a", 2, "RTX 3070", 8)]);
    for name in ["first", "last"] {
        lab.submit(task(name, one()));
    }
    let mut told = lab.settle();
    lab.right(of_alice(), Allowance::devices(1));
    told.extend(lab.settle());
    lab.pass(Span::from_mins(5));
    told.extend(lab.settle());
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_borrowed_goes_back_to_its_owner() {
        let told = team_borrowing();
        assert_eq!(told[..2], ["start own on a-0", "start borrowed on a-1"]);
        assert!(told[2].starts_with("suspend borrowed"), "{told:?}");
        assert_eq!(told[3..], ["start wanted back on a-1"]);
    }

    #[test]
    fn who_may_have_no_more_of_a_model_gets_another() {
        assert_eq!(right_for_a_model(), ["start first on a-0", "start second on b-0"]);
    }

    #[test]
    fn the_last_leaves_when_its_notice_is_over() {
        let told = cut();
        assert_eq!(told[2..], ["give last notice", "suspend last: its right was cut"]);
    }
}
