//! Map fields.

use core::alloc::Layout;
use core::cmp::Ordering;
use core::fmt;
use core::mem::MaybeUninit;
use core::ops::Index;
use core::ptr::NonNull;

use super::{Context, Cursor, Frame, Kind, UnknownFields, Writer, delimited_len, scan};
use crate::{Arena, ArenaVec, SizeCache};

/// What a map may have as its keys.
pub trait MapKey: Ord + Copy {
    /// A number that ascends with the key: of two keys with different ranks the one with the lower rank is less.
    fn rank(&self) -> u64;
}

impl MapKey for bool {
    #[inline(always)]
    fn rank(&self) -> u64 {
        u64::from(*self)
    }
}

impl MapKey for i32 {
    #[inline(always)]
    fn rank(&self) -> u64 {
        i64::from(*self).rank()
    }
}

impl MapKey for i64 {
    #[inline(always)]
    fn rank(&self) -> u64 {
        // With the highest bit turned over, negative numbers come first.
        *self as u64 ^ 1 << 63
    }
}

impl MapKey for u32 {
    #[inline(always)]
    fn rank(&self) -> u64 {
        u64::from(*self)
    }
}

impl MapKey for u64 {
    #[inline(always)]
    fn rank(&self) -> u64 {
        *self
    }
}

impl MapKey for &str {
    /// The first eight bytes, zeros behind shorter keys.
    #[inline(always)]
    fn rank(&self) -> u64 {
        let bytes = self.as_bytes();
        let len = bytes.len();
        if let Some(word) = bytes.first_chunk() {
            return u64::from_be_bytes(*word);
        }
        match (bytes.first_chunk(), bytes.last_chunk()) {
            // Four to seven bytes, by halves that overlap: those of the second that the first has not.
            (Some(first), Some(last)) => {
                let behind = u64::from(u32::from_be_bytes(*last)) << (64 - 8 * len);
                u64::from(u32::from_be_bytes(*first)) << 32 | behind & 0xffff_ffff
            }
            _ => {
                let byte = |at: usize| u64::from(bytes.get(at).copied().unwrap_or(0));
                byte(0) << 56 | byte(1) << 48 | byte(2) << 40
            }
        }
    }
}

/// A map field: a slice of entries in ascending order of their keys, each key once.
///
/// Written in that order, so that equal messages are equal bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Map<'a, K, V> {
    // Invariant (of meaning, not of memory): ascending keys, none twice.
    entries: &'a [(K, V)],
}

impl<'a, K, V> Map<'a, K, V> {
    /// The empty map.
    pub const EMPTY: Self = Self { entries: &[] };

    /// The entries in ascending order of their keys.
    pub const fn entries(&self) -> &'a [(K, V)] {
        self.entries
    }

    /// How many entries there are.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries in ascending order of their keys.
    pub fn iter(
        &self,
    ) -> impl DoubleEndedIterator<Item = (&'a K, &'a V)> + ExactSizeIterator + use<'a, K, V> {
        self.entries.iter().map(|(key, value)| (key, value))
    }
}

impl<'a, K: Ord, V> Map<'a, K, V> {
    /// Takes entries whose keys ascend, each once; `None` when they do not.
    pub fn from_sorted(entries: &'a [(K, V)]) -> Option<Self> {
        entries.is_sorted_by(|(a, _), (b, _)| a < b).then_some(Self { entries })
    }

    /// The value of a key, found by binary search.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&'a V>
    where
        K: core::borrow::Borrow<Q>,
    {
        let index = self.entries.binary_search_by(|(k, _)| k.borrow().cmp(key)).ok()?;
        Some(&self.entries[index].1)
    }
}

impl<'a, K: MapKey, V: Copy> Map<'a, K, V> {
    /// Collects entries into the arena; of several with one key the last stays.
    ///
    /// # Panics
    /// When the arena's budget is spent; [`try_collect_in`](Self::try_collect_in) says so instead.
    pub fn collect_in(entries: impl IntoIterator<Item = (K, V)>, arena: &'a Arena) -> Self {
        Self::try_collect_in(entries, arena).expect("the arena's budget is spent")
    }

    /// Collects entries into the arena; of several with one key the last stays.
    ///
    /// # Errors
    /// When the arena's budget is spent.
    pub fn try_collect_in(
        entries: impl IntoIterator<Item = (K, V)>,
        arena: &'a Arena,
    ) -> Result<Self, crate::ArenaFull> {
        let (entries, mut list) = (entries.into_iter(), ArenaVec::new_in(arena));
        // Entries may take memory of the arena themselves, and each time that the list has to move, its old place is lost.
        // Where there is no room for so many, it may be that they do not come.
        let _ = list.try_reserve_exact(entries.size_hint().0.min(PROMISED));
        for entry in entries {
            list.try_push(entry)?;
        }
        Ok(MapBuilder { list: Some(list) }.build(arena)?.unwrap_or_default())
    }
}

impl<K, V> Default for Map<'_, K, V> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'a, K, V> IntoIterator for Map<'a, K, V> {
    type Item = &'a (K, V);
    type IntoIter = core::slice::Iter<'a, (K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.iter()
    }
}

impl<K: Ord + core::borrow::Borrow<Q>, V, Q: Ord + ?Sized> Index<&Q> for Map<'_, K, V> {
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("the map has no such key")
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Map<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// The entries of a map field while its message is being decoded, in the order in which they come.
#[derive(Debug)]
pub struct MapBuilder<'a, K, V> {
    list: Option<ArenaVec<'a, (K, V)>>,
}

impl<K, V> Default for MapBuilder<'_, K, V> {
    fn default() -> Self {
        Self { list: None }
    }
}

impl<'a, K: MapKey, V: Copy> MapBuilder<'a, K, V> {
    /// Without an entry.
    #[inline(always)]
    pub const fn new() -> Self {
        Self { list: None }
    }

    /// Puts what was read in place of `map`, which it began with.
    #[inline(always)]
    pub fn finish(self, cx: &mut Context<'a>, map: &mut Map<'a, K, V>) {
        if self.list.is_some() {
            match self.build(cx.arena) {
                Ok(built) => *map = built.unwrap_or(*map),
                Err(_) => {
                    cx.full(Cursor::empty());
                }
            }
        }
    }

    fn build(self, arena: &'a Arena) -> Result<Option<Map<'a, K, V>>, crate::ArenaFull> {
        let Some(list) = self.list else { return Ok(None) };
        let entries = list.into_slice();
        let kept = if entries.len() > 1 { sort_last_wins(entries, arena)? } else { entries.len() };
        Ok(Some(Map { entries: &entries[..kept] }))
    }
}

/// Most entries that room is made for before they come.
const PROMISED: usize = 1 << 16;

/// Up to how many entries are sorted by counting how many each is greater than.
const FEW: usize = 16;

/// Sorts by key and keeps the last of each; returns how many stay.
#[inline(never)]
fn sort_last_wins<K: MapKey, V: Copy>(
    entries: &mut [(K, V)],
    arena: &Arena,
) -> Result<usize, crate::ArenaFull> {
    let len = entries.len();
    if let [first, second] = entries {
        return Ok(
            match first.0.rank().cmp(&second.0.rank()).then_with(|| first.0.cmp(&second.0)) {
                Ordering::Less => 2,
                Ordering::Greater => {
                    core::mem::swap(first, second);
                    2
                }
                Ordering::Equal => {
                    *first = *second;
                    1
                }
            },
        );
    }
    if len <= FEW && sort_by_rank(entries) {
        return Ok(len);
    }
    if entries.is_sorted_by(|(a, _), (b, _)| a < b) {
        return Ok(len);
    }
    merge_sort(entries, arena)?;
    let mut kept = 0;
    for i in 0..len {
        if i + 1 == len || entries[i].0 < entries[i + 1].0 {
            entries[kept] = entries[i];
            kept += 1;
        }
    }
    Ok(kept)
}

/// Sorts up to 16 entries whose ranks all differ; does nothing, and returns false, when two are the same.
#[inline(always)]
fn sort_by_rank<K: MapKey, V: Copy>(entries: &mut [(K, V)]) -> bool {
    let len = entries.len();
    assert!(len <= FEW, "the caller asks for no more");
    let mut ranks = [0; FEW];
    for (rank, (key, _)) in ranks.iter_mut().zip(&*entries) {
        *rank = key.rank();
    }
    if ranks[..len].is_sorted_by(|a, b| a < b) {
        return true;
    }
    // Larger entries are too much for the stack, and to be moved twice.
    if size_of::<(K, V)>() > 256 {
        return false;
    }
    let Some(places) = places(&ranks, len) else { return false };
    let mut unsorted = [const { MaybeUninit::uninit() }; FEW];
    for (to, entry) in unsorted.iter_mut().zip(&*entries) {
        to.write(*entry);
    }
    for (entry, place) in unsorted.iter().zip(places).take(len) {
        // SAFETY: `len` entries were written. Foreign code has said the ranks before, whatever they are, and runs no more.
        entries[usize::from(place)] = unsafe { entry.assume_init() };
    }
    true
}

/// The place of each of the first `len` ranks, up to 16, in ascending order; `None` when two are the same.
#[inline(never)]
fn places(ranks: &[u64; FEW], len: usize) -> Option<[u8; FEW]> {
    // A loop for each small number, which is known in it, so that all ranks stay in registers.
    match len {
        3 => places_of(ranks, 3),
        4 => places_of(ranks, 4),
        5 => places_of(ranks, 5),
        6 => places_of(ranks, 6),
        7 => places_of(ranks, 7),
        8 => places_of(ranks, 8),
        _ => places_of(ranks, len),
    }
}

/// The place of a rank is the number of lower ones: all pairs are compared, but without a branch on the outcome, which
/// for keys in no order costs far more than the comparison.
#[inline(always)]
fn places_of(ranks: &[u64; FEW], len: usize) -> Option<[u8; FEW]> {
    let mut places = [0_u8; FEW];
    for i in 1..len {
        for j in 0..i {
            places[i] += u8::from(ranks[j] < ranks[i]);
            places[j] += u8::from(ranks[i] < ranks[j]);
        }
    }
    // Two that are equal count neither, and thereby make a lower sum.
    let sum: u8 = places.iter().sum();
    (usize::from(sum) == len * (len - 1) / 2).then_some(places)
}

/// From the bottom up, as the order of equal keys counts and nothing may be taken from the heap; its scratch is given
/// back to the arena.
fn merge_sort<K: MapKey, V: Copy>(
    entries: &mut [(K, V)],
    arena: &Arena,
) -> Result<(), crate::ArenaFull> {
    let len = entries.len();
    let layout = Layout::for_value(entries);
    let start = arena.take(layout)?.cast::<(K, V)>();
    // SAFETY: fresh memory for as many entries, which are written before they are referred to. The order of keys is foreign
    // code; what it takes and gives back of the arena lies behind the scratch, as that is taken.
    let scratch = unsafe {
        start.copy_from_nonoverlapping(NonNull::from(&*entries).cast(), len);
        core::slice::from_raw_parts_mut(start.as_ptr(), len)
    };
    let (mut from, mut to) = (&mut *entries, &mut *scratch);
    let (mut width, mut turns) = (1, 0);
    while width < len {
        for (source, target) in from.chunks(2 * width).zip(to.chunks_mut(2 * width)) {
            let (mut left, mut right) = source.split_at(width.min(source.len()));
            for place in target {
                let take_right = match (left.first(), right.first()) {
                    (Some(l), Some(r)) => r.0 < l.0,
                    (None, _) => true,
                    (_, None) => false,
                };
                let run = if take_right { &mut right } else { &mut left };
                if let Some((first, rest)) = run.split_first() {
                    *place = *first;
                    *run = rest;
                }
            }
        }
        core::mem::swap(&mut from, &mut to);
        width *= 2;
        turns += 1;
    }
    if turns % 2 == 1 {
        to.copy_from_slice(from);
    }
    // Does nothing where foreign code has taken something behind it that it has not given back.
    arena.give_back_tail(start.cast(), layout.size(), 0);
    Ok(())
}

/// Reads a run of entries, each but the first behind `tag`.
#[inline(always)]
pub fn map<'a, K: Kind<'a>, V: Kind<'a>>(
    cursor: Cursor<'a>,
    cx: &mut Context<'a>,
    tag: u32,
    present: Map<'a, K::Value, V::Value>,
    builder: &mut MapBuilder<'a, K::Value, V::Value>,
    unknown: &mut UnknownFields<'a>,
    frame: &mut Frame<'a>,
) -> Cursor<'a>
where
    K::Value: MapKey,
{
    // SAFETY: what is returned is the cursor behind the last entry, or ended.
    unsafe { cursor.on(read_map::<K, V>(cursor, cx, tag, present, builder, unknown, frame)) }
}

#[inline(never)]
fn read_map<'a, K: Kind<'a>, V: Kind<'a>>(
    mut cursor: Cursor<'a>,
    cx: &mut Context<'a>,
    tag: u32,
    present: Map<'a, K::Value, V::Value>,
    builder: &mut MapBuilder<'a, K::Value, V::Value>,
    unknown: &mut UnknownFields<'a>,
    frame: &mut Frame<'a>,
) -> Cursor<'a>
where
    K::Value: MapKey,
{
    if !cx.enter(cursor) {
        return cursor.ended();
    }
    if builder.list.is_none() && present.is_empty() && !V::ALLOCATES {
        // As for lists of leaves: the arena's free end holds the entries as they come.
        let open = cx.arena.open::<(K::Value, V::Value)>();
        let mut next = cursor;
        for len in 0..open.room() {
            let inner = next.delimited(cx);
            let entry = entry::<K, V>(inner, cx);
            if cx.unnamed {
                break;
            }
            // SAFETY: `len` is less than the room, of which foreign code, in `entry`, can get nothing.
            unsafe { open.start().add(len).write(entry) };
            if !next.skip_tag(tag) {
                // SAFETY: `len + 1` entries were written.
                builder.list = Some(unsafe { open.close_to_grow(len + 1) });
                cx.leave();
                return if cx.failed() { next.ended() } else { next };
            }
        }
        // SAFETY: claims no entry. What follows begins again and finds what stopped this.
        unsafe { open.close(0) };
        cx.unnamed = false;
    }
    let list = builder.list.get_or_insert_with(|| ArenaVec::new_in(cx.arena));
    if list.is_empty() {
        let count = scan::count_run(cursor, tag);
        if list.try_reserve_exact(count.saturating_add(present.len())).is_err() {
            return cx.full(cursor);
        }
        list.extend(present.entries.iter().copied());
    }
    loop {
        let start = cursor;
        let inner = cursor.delimited(cx);
        let entry = entry::<K, V>(inner, cx);
        if cx.failed() {
            return cursor.ended();
        }
        if core::mem::take(&mut cx.unnamed) {
            keep_entry(cx, tag, start, start.until(cursor), unknown, frame);
        } else if list.try_push(entry).is_err() {
            return cx.full(start);
        }
        if !cursor.skip_tag(tag) {
            cx.leave();
            return if cx.failed() { cursor.ended() } else { cursor };
        }
    }
}

/// One entry: a message of the fields 1 and 2. Unknown fields in it are dropped, as by the other implementations.
#[inline(always)]
fn entry<'a, K: Kind<'a>, V: Kind<'a>>(
    mut inner: Cursor<'a>,
    cx: &mut Context<'a>,
) -> (K::Value, V::Value) {
    let (mut key, mut value) = (K::ZERO, V::ZERO);
    // What every encoder writes: the key, the value, and nothing else.
    if inner.skip_tag(1 << 3 | K::WIRE) {
        inner = K::read_into(inner, cx, &mut key);
        if inner.skip_tag(2 << 3 | V::WIRE) {
            inner = V::read_into(inner, cx, &mut value);
            if inner.is_empty() {
                return (key, value);
            }
        }
    }
    loop {
        let start = inner;
        let tag = inner.tag(cx);
        if tag == 1 << 3 | K::WIRE {
            inner = K::read_into(inner, cx, &mut key);
        } else if tag == 2 << 3 | V::WIRE {
            inner = V::read_into(inner, cx, &mut value);
        } else if tag != 0 {
            inner = cx.skip(start, inner, tag);
        } else {
            cx.end(start, inner, 0, 0, &mut UnknownFields::default(), &mut Frame::new());
            return (key, value);
        }
    }
}

/// Keeps an entry whose value is a number that its closed enum does not name.
#[cold]
fn keep_entry<'a>(
    cx: &mut Context<'a>,
    tag: u32,
    start: Cursor<'a>,
    entry: &'a [u8],
    unknown: &mut UnknownFields<'a>,
    frame: &mut Frame<'a>,
) {
    if !cx.count_unknown(start) {
        return;
    }
    cx.flush(unknown, frame);
    let mut span = ArenaVec::new_in(cx.arena);
    if span.try_reserve_exact(5 + entry.len()).is_err() {
        cx.full(Cursor::new(entry));
        return;
    }
    let mut left = tag;
    while left >= 0x80 {
        span.push(left as u8 | 0x80);
        left >>= 7;
    }
    span.push(left as u8);
    span.extend(entry.iter().copied());
    cx.keep(span.into_slice(), unknown, frame);
}

/// The size of a map's entries, each with its length and a tag of `tag_len` bytes.
#[inline]
pub fn map_len<'a, K: Kind<'a>, V: Kind<'a>>(
    tag_len: usize,
    map: &Map<'_, K::Value, V::Value>,
    cache: &mut SizeCache,
) -> usize {
    let mut total = 0;
    for (key, value) in map.entries {
        let size = if V::ALLOCATES {
            let place = cache.reserve();
            let size = entry_len::<K, V>(key, value, cache);
            cache.set(place, size);
            size
        } else {
            entry_len::<K, V>(key, value, cache)
        };
        total += delimited_len(tag_len, size);
    }
    total
}

/// The size of an entry. Where the value is no message, summing it up a second time is cheaper than remembering it.
#[inline(always)]
fn entry_len<'a, K: Kind<'a>, V: Kind<'a>>(
    key: &K::Value,
    value: &V::Value,
    cache: &mut SizeCache,
) -> usize {
    2 + K::len(key, cache) + V::len(value, cache)
}

/// Writes a map's entries, each behind a tag and its length.
#[inline]
pub fn write_map<'a, 'w, K: Kind<'a>, V: Kind<'a>>(
    tag: u32,
    map: &Map<'_, K::Value, V::Value>,
    cache: &mut SizeCache,
    mut writer: Writer<'w>,
) -> Writer<'w> {
    for (key, value) in map.entries {
        let size =
            if V::ALLOCATES { cache.next_size() } else { entry_len::<K, V>(key, value, cache) };
        writer = writer.varint_field(tag, size as u64);
        writer = K::write(1 << 3 | K::WIRE, key, cache, writer);
        writer = V::write(2 << 3 | V::WIRE, value, cache, writer);
    }
    writer
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::format;

    use super::*;

    #[test]
    fn sorting_leaves_nothing_behind_in_the_arena() {
        // As many entries as are sorted by counting, and of a size that is copied to its place in the cache line.
        for len in [FEW, 1000] {
            let arena = Arena::with_capacity(1 << 16);
            let entries = (0..len as u64).rev().map(|key| (key, key));
            assert_eq!(Map::collect_in(entries, &arena).len(), len);
            assert_eq!(arena.used_bytes(), len * size_of::<(u64, u64)>());
        }
    }

    #[test]
    fn entries_that_take_memory_of_the_arena_themselves_leave_no_smaller_lists_behind_in_it() {
        let arena = Arena::with_capacity(1 << 16);
        let entries = (100..1100u64).map(|key| (arena.alloc_str(&format!("key {key:4}")), key));
        assert_eq!(Map::collect_in(entries, &arena).len(), 1000);
        assert_eq!(arena.used_bytes(), 1000 * (size_of::<(&str, u64)>() + 8));
    }

    #[test]
    fn a_promise_of_more_entries_than_there_are_takes_no_memory_for_them() {
        struct Promise(u64);
        impl Iterator for Promise {
            type Item = (u64, u64);
            fn next(&mut self) -> Option<(u64, u64)> {
                self.0 = self.0.checked_sub(1)?;
                Some((self.0, self.0))
            }
            fn size_hint(&self) -> (usize, Option<usize>) {
                (usize::MAX, None)
            }
        }
        for arena in [Arena::new(), Arena::with_budget(1000)] {
            assert_eq!(Map::collect_in(Promise(20), &arena).len(), 20);
            assert_eq!(arena.used_bytes(), 20 * size_of::<(u64, u64)>());
        }
    }

    #[test]
    fn entries_that_the_budget_has_no_room_for_make_no_map() {
        for (len, fits) in [(10u64, true), (101, false)] {
            let arena = Arena::with_budget(1600);
            let map = Map::try_collect_in((0..len).map(|key| (key, key)), &arena);
            assert_eq!(map.is_ok(), fits);
        }
    }

    proptest! {
        #[test]
        fn ranks_ascend_with_the_keys(
            a in "[ab\u{0}\u{e9}]{0,10}", b in "[ab\u{0}\u{e9}]{0,10}", c: i64, d: i64, shift in 0u32..64,
        ) {
            let (a, b) = (a.as_str(), b.as_str());
            prop_assert!(a.rank() == b.rank() || (a.rank() < b.rank()) == (a < b));
            let mut word = [0; 8];
            let len = a.len().min(8);
            word[..len].copy_from_slice(&a.as_bytes()[..len]);
            prop_assert_eq!(a.rank(), u64::from_be_bytes(word));
            let (c, d) = (c >> shift, d >> shift);
            prop_assert_eq!(c.rank().cmp(&d.rank()), c.cmp(&d));
            prop_assert_eq!((c as i32).rank().cmp(&(d as i32).rank()), (c as i32).cmp(&(d as i32)));
        }

        #[test]
        fn text_that_begins_alike_is_sorted_as_well(keys in proptest::collection::vec("(aaaaaaaa|aaaa)?[ab\u{0}]{0,3}", 0..20)) {
            let arena = Arena::new();
            let map = Map::collect_in(keys.iter().enumerate().map(|(i, key)| (key.as_str(), i)), &arena);
            let expected = keys.iter().enumerate().map(|(i, key)| (key.as_str(), i)).collect::<BTreeMap<_, _>>();
            prop_assert!(map.iter().map(|(k, v)| (*k, *v)).eq(expected));
        }

        #[test]
        fn entries_end_up_sorted_and_the_last_of_each_key_wins(entries in proptest::collection::vec(any::<(i32, u32)>().prop_map(|(key, value)| (key % 40, value)), 0..80)) {
            let arena = Arena::new();
            let map = Map::collect_in(entries.iter().copied(), &arena);
            let expected = entries.iter().copied().collect::<BTreeMap<_, _>>();
            prop_assert!(map.iter().map(|(k, v)| (*k, *v)).eq(expected.iter().map(|(k, v)| (*k, *v))));
            for key in -40..=40 {
                prop_assert_eq!(map.get(&key), expected.get(&key));
            }
        }
    }
}
