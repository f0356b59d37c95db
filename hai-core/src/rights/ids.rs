//! Dense numbers for names, so that the hot path compares no strings.

use std::hash::{BuildHasherDefault, Hash};
use std::marker::PhantomData;

use indexmap::IndexMap;
use rustc_hash::FxHasher;

/// A number that stands for a name in one book.
pub(super) trait Ix: Copy {
    fn of(number: u32) -> Self;
    fn at(self) -> usize;
}

macro_rules! ix {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(u32);

        impl Ix for $type {
            fn of(number: u32) -> Self {
                $type(number)
            }
            fn at(self) -> usize {
                self.0 as usize
            }
        }
    };
}

ix!(
    /// A user's number in one [`Book`](super::book::Book). It says nothing about order.
    UserIx
);
ix!(
    /// A team's number in one [`Book`](super::book::Book). It says nothing about order.
    TeamIx
);
ix!(
    /// A group's number in one [`Book`](super::book::Book). It says nothing about order.
    GroupIx
);
ix!(
    /// A device model's number in one [`Book`](super::book::Book). It says nothing about order.
    ModelIx
);
ix!(
    /// The number of a (user, group, level) in one [`Book`](super::book::Book). It says nothing about order.
    BucketIx
);

impl ModelIx {
    /// Stands for a model that the book has never heard of: it counts in full, and nothing bounds it.
    pub const UNKNOWN: ModelIx = ModelIx(u32::MAX);
}

/// Names and their numbers. A number is never given to another name.
#[derive(Clone, Debug)]
pub(super) struct Names<N, I> {
    names: Vec<N>,
    /// Unseeded: it is never walked through.
    numbers: IndexMap<N, u32, BuildHasherDefault<FxHasher>>,
    kind: PhantomData<I>,
}

impl<N, I> Default for Names<N, I> {
    fn default() -> Self {
        Names { names: Vec::new(), numbers: IndexMap::default(), kind: PhantomData }
    }
}

impl<N: Hash + Eq + Clone, I: Ix> Names<N, I> {
    /// The number of a name, a new one if it has none.
    pub(super) fn number(&mut self, name: &N) -> I {
        if let Some(&number) = self.numbers.get(name) {
            return I::of(number);
        }
        let number = u32::try_from(self.names.len()).expect("fewer than 2^32 names fit into memory");
        self.names.push(name.clone());
        self.numbers.insert(name.clone(), number);
        I::of(number)
    }

    pub(super) fn find(&self, name: &N) -> Option<I> {
        self.numbers.get(name).map(|&number| I::of(number))
    }

    pub(super) fn name(&self, ix: I) -> &N {
        &self.names[ix.at()]
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}
