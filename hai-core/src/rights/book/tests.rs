//! The rules of the book in worked examples.

use super::*;
use crate::model::{Amount, Limit, Pool};

const LEVEL: Priority = Priority::Normal;

fn user(name: &str) -> UserName {
    UserName::new(name).expect("a name")
}

fn team(name: &str) -> TeamName {
    TeamName::new(name).expect("a name")
}

fn gpus() -> GroupName {
    GroupName::new("gpus").expect("a name")
}

fn devices(count: u32) -> Bill {
    Bill::of_charge(Charge { nodes: Amount::ZERO, devices: Amount::whole(count) })
}

fn set(book: &mut Book, key: RightKey, allowance: Allowance) {
    book.set(RightRow::new(key, allowance)).expect("a well made row");
}

/// A pool of so many devices, with bounds on what is borrowed and lent.
fn pool(own: u32, borrow: Option<u32>, lend: Option<u32>) -> Pool {
    let limit = |limit: Option<u32>| limit.map_or(Allowance::UNLIMITED, Allowance::devices);
    Pool { group: gpus(), own: Allowance::devices(own), borrow: limit(borrow), lend: limit(lend) }
}

fn set_team(book: &mut Book, name: &str, parent: Option<&str>, members: &[&str], pools: Vec<Pool>) {
    let members = members.iter().map(|&name| user(name)).collect();
    book.set_team(Team { name: team(name), parent: parent.map(team), members, pools }).expect("no cycle");
}

/// A lab of two teams, `ann` and `amy` in `a`, `bob` in `b`; all of them may hold 100 devices as far as rows go.
fn lab(a: Pool, b: Pool, lab: Vec<Pool>) -> (Book, [BucketIx; 3]) {
    let mut book = Book::default();
    set(&mut book, RightKey::default(), Allowance::devices(100));
    set_team(&mut book, "lab", None, &[], lab);
    set_team(&mut book, "a", Some("lab"), &["ann", "amy"], vec![a]);
    set_team(&mut book, "b", Some("lab"), &["bob"], vec![b]);
    let buckets = ["ann", "amy", "bob"].map(|name| book.bucket(&user(name), &gpus(), LEVEL));
    (book, buckets)
}

#[test]
fn the_most_specific_row_counts_teams_by_the_greatest_and_caps_bound() {
    let mut book = Book::default();
    set_team(&mut book, "a", Some("all"), &["ann"], vec![]);
    set_team(&mut book, "b", None, &["ann"], vec![]);
    let ann = book.bucket(&user("ann"), &gpus(), LEVEL);
    let of_team = |name: &str| RightKey { team: Some(team(name)), ..RightKey::default() };
    assert_eq!(book.allowance(ann), Allowance::NOTHING);
    set(&mut book, RightKey { group: Some(gpus()), priority: Some(LEVEL), ..RightKey::default() }, Allowance::nodes(9));
    assert_eq!(book.allowance(ann), Allowance::nodes(9));
    // A team beats none, however little else it names; parts and parents alike.
    set(&mut book, of_team("all"), Allowance::nodes(2));
    set(&mut book, of_team("b"), Allowance::devices(3));
    let both = Allowance { nodes: Limit::at_most(2), devices: Limit::at_most(3) };
    assert_eq!(book.allowance(ann), both);
    set(&mut book, RightKey { group: Some(gpus()), ..of_team("a") }, Allowance::nodes(1));
    assert_eq!(book.allowance(ann), Allowance::nodes(1), "it names the group too");
    set(&mut book, RightKey { user: Some(user("ann")), ..RightKey::default() }, Allowance::UNLIMITED);
    assert_eq!(book.allowance(ann), Allowance::UNLIMITED);
    set(&mut book, RightKey { cap: true, ..RightKey::default() }, both);
    set(&mut book, RightKey { cap: true, ..of_team("all") }, Allowance::nodes(7));
    assert_eq!(book.allowance(ann), Allowance::nodes(2));
    assert_eq!(book.best_allowance(ann), Allowance::nodes(2));
    let auto = book.bucket(&user("ann"), &gpus(), Priority::Auto);
    assert_eq!(book.allowance(auto), Allowance::NOTHING);
}

#[test]
fn a_row_counts_until_it_expires() {
    let mut book = Book::default();
    let mine = RightKey { user: Some(user("ann")), ..RightKey::default() };
    set(&mut book, RightKey::default(), Allowance::devices(1));
    let row = |expires| RightRow { expires, ..RightRow::new(mine.clone(), Allowance::devices(4)) };
    book.set(row(Some(Time::from_ms(5)))).expect("well made");
    assert_eq!(book.set(row(Some(Time::from_ms(9)))), Ok(true));
    assert_eq!(book.set(row(Some(Time::from_ms(9)))), Ok(false));
    let ann = book.bucket(&user("ann"), &gpus(), LEVEL);
    book.add(ann, Part::Staying, &devices(3));
    assert_eq!((book.next_expiry(), book.expire(Time::from_ms(8))), (Some(Time::from_ms(9)), false));
    assert_eq!((book.allowance(ann), book.over()), (Allowance::devices(4), vec![]));
    assert!(book.expire(Time::from_ms(9)));
    assert_eq!((book.next_expiry(), book.allowance(ann)), (None, Allowance::devices(1)));
    let by = devices(2).charge;
    assert_eq!(book.over(), [Over::Bucket { bucket: ann, model: None, by }]);
    book.move_part(ann, Part::Staying, Part::Leaving, &devices(3));
    assert_eq!(book.over(), []);
}

#[test]
fn rows_that_name_two_owners_or_auto_are_refused() {
    let mut book = Book::default();
    let both = RightKey { user: Some(user("ann")), team: Some(team("a")), ..RightKey::default() };
    let auto = RightKey { priority: Some(Priority::Auto), ..RightKey::default() };
    assert_eq!(book.set(RightRow::new(both.clone(), Allowance::UNLIMITED)), Err(RightError::UserAndTeam));
    assert_eq!(book.set(RightRow::new(auto, Allowance::UNLIMITED)), Err(RightError::Auto));
    assert!(!book.remove(&both));
}

#[test]
fn a_bill_stands_by_what_stays_and_what_leaves() {
    let mut book = Book::default();
    set(&mut book, RightKey::default(), Allowance::devices(4));
    let ann = book.bucket(&user("ann"), &gpus(), LEVEL);
    assert_eq!(book.standing(ann, &devices(5)), Standing::Never);
    book.add(ann, Part::Staying, &devices(1));
    book.add(ann, Part::Promised, &devices(1));
    book.add(ann, Part::Leaving, &devices(1));
    book.add(ann, Part::Borrowed, &devices(7));
    assert_eq!(book.standing(ann, &devices(1)), Standing::Now);
    assert_eq!(book.standing(ann, &devices(2)), Standing::Later);
    assert_eq!(book.standing(ann, &devices(3)), Standing::Used);
    let node = Bill::of_charge(Charge { nodes: Amount::whole(1), devices: Amount::ZERO });
    assert_eq!(book.standing(ann, &node), Standing::Never);
    assert_eq!(book.standing(ann, &Bill::default()), Standing::Now);
    assert_eq!(book.may_borrow(ann, &devices(u32::MAX)), Ok(()), "without teams nothing bounds what is borrowed");
    assert_eq!(book.freed(ann).count(), 1);
}

#[test]
fn what_is_promised_to_others_keeps_nobody_from_using_his_promise() {
    let (mut book, [ann, amy, _]) = lab(pool(4, None, None), pool(0, None, None), vec![]);
    book.add(ann, Part::Leaving, &devices(3));
    book.add(ann, Part::Promised, &devices(2));
    book.add(amy, Part::Promised, &devices(1));
    assert!(book.may_start(amy, &devices(1)), "three leave, and one begins");
    assert!(!book.may_start(ann, &devices(2)), "before some have left that would be five of four");
    book.move_part(amy, Part::Promised, Part::Staying, &devices(1));
    book.subtract(ann, Part::Leaving, &devices(2));
    assert!(book.may_start(ann, &devices(2)));

    let mut book = Book::default();
    let model = ModelName::new("large").expect("a name");
    let large = book.model(&model);
    set(&mut book, RightKey::default(), Allowance::devices(8));
    set(&mut book, RightKey { model: Some(model), ..RightKey::default() }, Allowance::devices(4));
    let ann = book.bucket(&user("ann"), &gpus(), LEVEL);
    let bill = |book: &Book, count| book.bill_of(vec![Held::Device { model: large, milli: 1000 }; count]);
    let [one, two, three] = [1, 2, 3].map(|count| bill(&book, count));
    book.add(ann, Part::Leaving, &three);
    book.add(ann, Part::Promised, &two);
    book.add(ann, Part::Promised, &one);
    assert!(book.may_start(ann, &one) && !book.may_start(ann, &two));
}

#[test]
fn a_model_is_bounded_beside_all_and_by_its_weight() {
    let mut book = Book::default();
    let large = ModelName::new("large").expect("a name");
    book.set_weight(&large, 2500);
    let (large_ix, small_ix) = (book.model(&large), book.model(&ModelName::new("small").expect("a name")));
    set(&mut book, RightKey::default(), Allowance::devices(8));
    set(&mut book, RightKey { model: Some(large), ..RightKey::default() }, Allowance::devices(5));
    let ann = book.bucket(&user("ann"), &gpus(), LEVEL);
    let one = |model| Held::Device { model, milli: 1000 };
    let bill = book.bill_of([one(large_ix), one(small_ix)]);
    assert_eq!(bill.charge.devices.as_milli(), 3500);
    book.add(ann, Part::Staying, &bill);
    // 3.5 of 8 in all, 2.5 of 5 of the large model.
    assert_eq!(book.standing(ann, &book.bill_of([one(large_ix)])), Standing::Now);
    assert_eq!(book.standing(ann, &book.bill_of([one(large_ix); 2])), Standing::Used);
    assert_eq!(book.standing(ann, &book.bill_of([one(large_ix); 3])), Standing::Never);
    assert_eq!(book.standing(ann, &book.bill_of([one(small_ix); 4])), Standing::Now);
    assert_eq!(book.standing(ann, &book.bill_of([one(small_ix); 5])), Standing::Used);
    assert_eq!(book.model_bounds(ann)[..], [(large_ix, Allowance::devices(5))]);
}

#[test]
fn siblings_lend_what_they_leave_unused_up_to_their_limits() {
    // Team a: own 4, may borrow 3. Team b: own 4, lends 2, so it keeps 2.
    let (mut book, [ann, amy, bob]) = lab(pool(4, Some(3), None), pool(4, None, Some(2)), vec![]);
    let [lab, a, b] = ["lab", "a", "b"].map(|name| book.find_team(&team(name)).expect("it was put in"));
    assert_eq!(book.standing(ann, &devices(5)), Standing::Never);
    book.add(ann, Part::Staying, &devices(3));
    assert_eq!(book.standing(amy, &devices(2)), Standing::TeamUsed(a));
    // b lends two: a may have 6 in all, though it may borrow 3.
    assert_eq!(book.may_borrow(amy, &devices(3)), Ok(()));
    assert_eq!(book.may_borrow(amy, &devices(4)), Err(lab));
    assert_eq!(book.may_borrow(amy, &devices(5)), Err(a));
    book.add(amy, Part::Borrowed, &devices(2));
    // b's own right is not touched by that, but one of what it lends is with a: a holds 5 of 8.
    assert_eq!(book.standing(bob, &devices(4)), Standing::Now);
    assert_eq!(book.may_borrow(bob, &devices(3)), Ok(()));
    assert_eq!(book.may_borrow(bob, &devices(4)), Err(lab));
    book.add(bob, Part::Staying, &devices(4));
    let group = book.find_group(&gpus()).expect("it was named");
    assert_eq!(book.over(), [Over::Borrowed { team: a, group, by: devices(1).charge }]);
    book.move_part(amy, Part::Borrowed, Part::Returning, &devices(2));
    assert_eq!(book.over(), []);
    assert_eq!(book.may_borrow(amy, &devices(1)), Err(lab), "what is on its way out is still held");
    assert_eq!(book.freed(amy).skip(1).collect::<Vec<_>>(), [Waiter::Team(a), Waiter::Team(lab)]);
    assert!(book.is_charged_to(bob, b) && !book.is_charged_to(bob, a));
    assert_eq!(book.pool_use(a, group).map(|used| used.returning), Some(devices(2).charge));
    assert_eq!(book.pool_use(lab, group), None);
}

#[test]
fn a_parent_bounds_its_parts_and_adds_what_is_its_own() {
    // The lab has 10; 4 and 4 are its parts', 2 are left over.
    let (mut book, [ann, _, bob]) = lab(pool(4, None, None), pool(4, None, None), vec![pool(10, None, None)]);
    let lab = book.find_team(&team("lab")).expect("it was put in");
    assert_eq!(book.may_borrow(ann, &devices(10)), Ok(()));
    assert_eq!(book.may_borrow(ann, &devices(11)), Err(lab));
    // Cut to 6, its parts can not both have what is theirs.
    set_team(&mut book, "lab", None, &[], vec![pool(6, None, None)]);
    book.add(ann, Part::Staying, &devices(4));
    assert_eq!(book.standing(bob, &devices(3)), Standing::TeamUsed(lab));
    assert_eq!(book.standing(bob, &devices(2)), Standing::Now);
    book.add(bob, Part::Staying, &devices(4));
    let group = book.find_group(&gpus()).expect("it was named");
    assert_eq!(book.over(), [Over::Own { team: lab, group, by: devices(2).charge }]);
}

#[test]
fn a_team_that_moves_takes_its_use_along() {
    let (mut book, [ann, amy, _]) = lab(pool(4, None, None), pool(4, None, None), vec![]);
    book.add(ann, Part::Staying, &devices(4));
    let a = book.find_team(&team("a")).expect("it was put in");
    assert_eq!(book.standing(amy, &devices(1)), Standing::TeamUsed(a));
    // ann leaves the team: what she holds is no longer its.
    set_team(&mut book, "a", Some("lab"), &["amy"], vec![pool(4, None, None)]);
    assert_eq!(book.standing(amy, &devices(4)), Standing::Now);
    assert_eq!(book.used(ann).staying, devices(4).charge);
    assert!(book.remove_team(&team("a")));
    assert_eq!(book.standing(amy, &devices(100)), Standing::Now);
}

#[test]
fn the_greatest_amounts_are_given_back_exactly() {
    let (mut book, [ann, amy, bob]) = lab(pool(4, None, None), pool(4, None, None), vec![pool(4, None, None)]);
    let all = Bill::of_charge(Charge { nodes: Amount::MAX, devices: Amount::MAX });
    for bucket in [ann, ann, amy, bob] {
        book.add(bucket, Part::Staying, &all);
        book.add(bucket, Part::Borrowed, &all);
    }
    assert_eq!(book.used(ann).staying, all.charge);
    assert_eq!(book.standing(ann, &all), Standing::Never);
    assert!(book.may_borrow(ann, &all).is_err());
    assert!(!book.over().is_empty());
    book.subtract(ann, Part::Staying, &all);
    assert_eq!(book.used(ann).staying, all.charge, "the other run still holds as much");
    for bucket in [ann, amy, bob] {
        book.subtract(bucket, Part::Staying, &all);
        book.subtract(bucket, Part::Borrowed, &all);
    }
    book.subtract(ann, Part::Borrowed, &all);
    // There is nothing left to take.
    book.subtract(ann, Part::Borrowed, &all);
    assert_eq!(book.used(ann), BucketUse::default());
    assert_eq!(book.over(), []);
    assert_eq!(book.standing(ann, &devices(4)), Standing::Now);
}

#[test]
fn only_who_can_help_gives_back_and_who_is_furthest_beyond_its_own_first() {
    // Both parts may borrow what the lab has beside them; b lends nothing.
    let (mut book, [ann, _, bob]) = lab(pool(2, None, None), pool(4, None, Some(0)), vec![pool(12, None, None)]);
    let [lab, a, b] = ["lab", "a", "b"].map(|name| book.find_team(&team(name)).expect("it was put in"));
    let group = book.find_group(&gpus()).expect("it was named");
    book.add(ann, Part::Borrowed, &devices(5));
    book.add(bob, Part::Borrowed, &devices(6));
    assert_eq!(book.over(), []);
    // a is 3 beyond its own, b 2.
    set_team(&mut book, "lab", None, &[], vec![pool(10, None, None)]);
    assert_eq!(book.over(), [Over::Borrowed { team: a, group, by: devices(1).charge }]);
    book.add(bob, Part::Borrowed, &devices(2));
    assert_eq!(book.over(), [Over::Borrowed { team: b, group, by: devices(3).charge }]);
    book.subtract(ann, Part::Borrowed, &devices(5));
    book.subtract(bob, Part::Borrowed, &devices(4));
    // b holds the 4 that it keeps anyway: who gives back there helps nobody.
    set_team(&mut book, "lab", None, &["cid"], vec![pool(10, None, None)]);
    let cid = book.bucket(&user("cid"), &gpus(), LEVEL);
    book.add(cid, Part::Staying, &devices(7));
    assert_eq!(book.over(), []);
    book.add(cid, Part::Borrowed, &devices(1));
    assert_eq!(book.over(), [Over::Borrowed { team: lab, group, by: devices(2).charge }]);
    assert!(book.is_charged_directly(cid, lab) && !book.is_charged_directly(bob, lab));
}

#[test]
fn who_gives_back_uses_that_of_which_there_is_too_much() {
    let both = |nodes: u32, devices: u32| Allowance { nodes: Limit::at_most(nodes), devices: Limit::at_most(devices) };
    let of = |own: Allowance, lend: Allowance| Pool { group: gpus(), own, borrow: Allowance::UNLIMITED, lend };
    // a keeps its two devices for itself, so it frees none for others by giving back what it holds of them.
    let a = of(both(0, 2), both(0, 0));
    let (mut book, [ann, amy, bob]) = lab(a, of(both(0, 0), both(0, 0)), vec![of(both(1, 3), both(0, 0))]);
    let nodes = |count: u32| Bill::of_charge(Charge { nodes: Amount::whole(count), devices: Amount::ZERO });
    book.add(ann, Part::Borrowed, &nodes(1));
    book.add(amy, Part::Borrowed, &devices(1));
    book.add(bob, Part::Borrowed, &devices(1));
    assert_eq!(book.over(), []);
    set_team(&mut book, "lab", None, &[], vec![of(both(0, 2), both(0, 0))]);
    let [a, b] = ["a", "b"].map(|name| book.find_team(&team(name)).expect("it was put in"));
    let group = book.find_group(&gpus()).expect("it was named");
    assert_eq!(book.over(), [Over::Borrowed { team: a, group, by: nodes(1).charge }]);
    book.subtract(ann, Part::Borrowed, &nodes(1));
    assert_eq!(book.over(), [Over::Borrowed { team: b, group, by: devices(1).charge }]);
    book.subtract(bob, Part::Borrowed, &devices(1));
    assert_eq!(book.over(), []);
}
