//! A dense table keyed by numbers that only grow, such as those of tasks and runs.
//!
//! Looking one up is two loads, whatever the number of entries; walking goes in the order of the numbers. A page of the
//! directory stays as long as one of its numbers is in use.

use std::marker::PhantomData;

use crate::model::{RunId, TaskId};

/// Numbers in one page of the directory.
const PAGE: usize = 1024;
/// No entry.
const NONE: u32 = u32::MAX;

/// A number that entries are kept under.
pub(crate) trait Key: Copy {
    fn number(self) -> u64;
    fn of(number: u64) -> Self;
}

impl Key for TaskId {
    fn number(self) -> u64 {
        self.0
    }
    fn of(number: u64) -> Self {
        TaskId(number)
    }
}

impl Key for RunId {
    fn number(self) -> u64 {
        self.0
    }
    fn of(number: u64) -> Self {
        RunId(number)
    }
}

#[derive(Clone, Debug)]
struct Page {
    number: u64,
    used: u32,
    slots: Box<[u32; PAGE]>,
}

/// Entries by number.
#[derive(Clone, Debug)]
pub(crate) struct Table<K, V> {
    /// By page number. Numbers only grow, so nearly all pages in use lie close together.
    pages: Vec<Page>,
    /// One page that is in nobody's use, so that a table which keeps emptying does not keep allocating.
    spare: Option<Box<[u32; PAGE]>>,
    slots: Vec<Option<V>>,
    unused: Vec<u32>,
    len: usize,
    key: PhantomData<K>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Table { pages: Vec::new(), spare: None, slots: Vec::new(), unused: Vec::new(), len: 0, key: PhantomData }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the remainder of a division by the page's size")]
fn split(number: u64) -> (u64, usize) {
    (number / PAGE as u64, (number % PAGE as u64) as usize)
}

impl<K: Key, V> Table<K, V> {
    fn page_at(&self, page: u64) -> Result<usize, usize> {
        // Most are asked for near the end, or all pages follow each other without a hole.
        if let Some(first) = self.pages.first() {
            let guess = usize::try_from(page.wrapping_sub(first.number)).unwrap_or(usize::MAX);
            if self.pages.get(guess).is_some_and(|known| known.number == page) {
                return Ok(guess);
            }
        }
        self.pages.binary_search_by_key(&page, |known| known.number)
    }

    fn slot(&self, key: K) -> Option<usize> {
        let (page, index) = split(key.number());
        let slot = self.pages[self.page_at(page).ok()?].slots[index];
        (slot != NONE).then_some(slot as usize)
    }

    pub(crate) fn get(&self, key: K) -> Option<&V> {
        self.slots[self.slot(key)?].as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let slot = self.slot(key)?;
        self.slots[slot].as_mut()
    }

    pub(crate) fn contains(&self, key: K) -> bool {
        self.slot(key).is_some()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Puts an entry in, in the place of one with the same number.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        if let Some(slot) = self.slot(key) {
            self.slots[slot] = Some(value);
            return;
        }
        let slot = self.unused.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 tasks are unfinished")
        });
        self.slots[slot as usize] = Some(value);
        self.len += 1;
        let (number, index) = split(key.number());
        let at = self.page_at(number).unwrap_or_else(|at| {
            let slots = self.spare.take().unwrap_or_else(|| Box::new([NONE; PAGE]));
            self.pages.insert(at, Page { number, used: 0, slots });
            at
        });
        self.pages[at].used += 1;
        self.pages[at].slots[index] = slot;
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        let (number, index) = split(key.number());
        let at = self.page_at(number).ok()?;
        let page = &mut self.pages[at];
        let slot = std::mem::replace(&mut page.slots[index], NONE);
        if slot == NONE {
            return None;
        }
        page.used -= 1;
        if page.used == 0 {
            self.spare = Some(self.pages.remove(at).slots);
        }
        self.unused.push(slot);
        self.len -= 1;
        self.slots[slot as usize].take()
    }

    /// All entries, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &V)> + '_ {
        self.pages.iter().flat_map(move |page| {
            let used = page.slots.iter().enumerate().filter(|(_, slot)| **slot != NONE);
            used.filter_map(move |(index, slot)| {
                let key = K::of(page.number * PAGE as u64 + index as u64);
                self.slots[*slot as usize].as_ref().map(|value| (key, value))
            })
        })
    }

    /// All numbers, in order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = K> + '_ {
        self.iter().map(|(key, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_table_is_a_map(ops in prop::collection::vec((0..5_000_u64, any::<bool>()), 0..300)) {
            let mut table: Table<TaskId, u64> = Table::default();
            let mut map = BTreeMap::new();
            for (number, insert) in ops {
                if insert {
                    table.insert(TaskId(number), number * 2);
                    map.insert(TaskId(number), number * 2);
                } else {
                    prop_assert_eq!(table.remove(TaskId(number)), map.remove(&TaskId(number)));
                }
                prop_assert_eq!(table.get(TaskId(number)), map.get(&TaskId(number)));
                prop_assert_eq!(table.len(), map.len());
            }
            let entries: Vec<_> = table.iter().map(|(key, value)| (key, *value)).collect();
            prop_assert_eq!(entries, map.into_iter().collect::<Vec<_>>());
        }
    }
}
