use alloc::collections::VecDeque;
use alloc::vec;

use proptest::prelude::*;

use super::*;

/// RFC 7541 §4 word for word over a list of fields, newest first.
#[derive(Default)]
struct Model {
    entries: VecDeque<(Vec<u8>, Vec<u8>)>,
    max_size: usize,
}

impl Model {
    fn size(&self) -> usize {
        self.entries.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
    }

    fn set_max_size(&mut self, max_size: usize) {
        self.max_size = max_size;
        while self.size() > max_size {
            self.entries.pop_back();
        }
    }

    fn insert(&mut self, name: &[u8], value: &[u8]) {
        let size = name.len() + value.len() + 32;
        while !self.entries.is_empty() && self.size() + size > self.max_size {
            self.entries.pop_back();
        }
        if self.size() + size <= self.max_size {
            self.entries.push_front((name.to_vec(), value.to_vec()));
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(usize, usize),
    Resize(u32),
    Shrink,
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..40usize, 0..40usize).prop_map(|(name, value)| Step::Insert(name, value)),
        4 => Just(Step::Insert(0, 0)),
        2 => (0..700usize, 0..700usize).prop_map(|(name, value)| Step::Insert(name, value)),
        1 => (0..1200u32).prop_map(Step::Resize),
        1 => Just(Step::Shrink),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #[test]
    fn evictions_are_those_of_a_plain_list(
        max_size in 0..1200u32,
        first in prop_oneof![Just(0u32), Just(u32::MAX - 20)],
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let mut table = Table::new(max_size);
        // Numbers that wrap around must not matter.
        table.inserted = first;
        let mut model = Model { max_size: max_size as usize, ..Model::default() };
        let mut fill = 0u8;
        for step in steps {
            let before = table.generation();
            let mut changes = true;
            match step {
                Step::Insert(name_len, value_len) => {
                    fill = fill.wrapping_add(1);
                    let (name, value) = (vec![fill; name_len], vec![!fill; value_len]);
                    let text = [&name[..], &value[..]].concat();
                    table.insert(Token::Other, FieldFlags::NONE, &text, name_len);
                    model.insert(&name, &value);
                }
                Step::Resize(max_size) => {
                    changes = table.max_size() != max_size as usize;
                    table.set_max_size(max_size);
                    model.set_max_size(max_size as usize);
                }
                Step::Shrink => {
                    changes = false;
                    table.shrink();
                }
                Step::Clear => {
                    table.clear();
                    model.entries.clear();
                }
            }
            prop_assert_eq!(table.generation() != before, changes);
            prop_assert_eq!(table.size(), model.size());
            prop_assert_eq!(table.len() as usize, model.entries.len());
            let same = table
                .iter()
                .zip(&model.entries)
                .all(|(found, wanted)| found.0 == wanted.0 && found.1 == wanted.1);
            prop_assert!(same, "{:?} is not {:?}", table, model.entries);
            let most = 1200 + (1200usize / 32).next_power_of_two() * size_of::<Entry>();
            prop_assert!(table.heap_bytes() <= most);
        }
    }
}

#[test]
fn an_empty_table_holds_no_memory() {
    let mut table = Table::new(4096);
    assert_eq!(table.heap_bytes(), 0);
    table.insert(Token::Other, FieldFlags::NONE, b"ab", 1);
    assert!(table.heap_bytes() > 0);
    table.clear();
    table.shrink();
    assert_eq!(table.heap_bytes(), 0);
    assert!(table.entry(0).is_none());
}

#[test]
fn numbers_find_entries_until_they_are_evicted() {
    let mut table = Table::new(100);
    table.insert(Token::Te, FieldFlags::NONE, b"te1", 2);
    let number = table.newest();
    assert_eq!(table.age_of(number), Some(0));
    table.insert(Token::Te, FieldFlags::NONE, b"te2", 2);
    assert_eq!(table.age_of(number), Some(1));
    table.insert(Token::Te, FieldFlags::NONE, b"te3", 2);
    assert_eq!(table.age_of(number), None);
    assert_eq!(table.age_of(number.wrapping_sub(1)), None);
}
