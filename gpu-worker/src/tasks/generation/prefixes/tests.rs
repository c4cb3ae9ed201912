//! What is taken over, what gives way, and that it is what a plain search over everything that is kept would choose.

use std::cell::Cell;

use proptest::prelude::*;

use super::*;

/// So many tokens of an arena of a hundred.
struct Room {
    tokens: usize,
    used: Rc<Cell<usize>>,
}

const ARENA: usize = 100;

impl Drop for Room {
    fn drop(&mut self) {
        self.used.set(self.used.get() - self.tokens);
    }
}

#[derive(Default)]
struct Fake {
    used: Rc<Cell<usize>>,
    prefixes: Prefixes<Room>,
}

fn reserve(used: &Rc<Cell<usize>>, tokens: usize) -> Option<Room> {
    if used.get() + tokens > ARENA {
        return None;
    }
    used.set(used.get() + tokens);
    Some(Room { tokens, used: Rc::clone(used) })
}

fn owner(name: &str) -> Owner {
    Owner { tenant: name.into(), adapter: None }
}

impl Fake {
    fn keep_for(&mut self, owner: Owner, regime: u32, ids: &[u32], tokens: usize) {
        let held = Rc::new(reserve(&self.used, tokens).expect("there is room"));
        self.prefixes.keep(Prefix { owner, regime, ids: ids.to_vec(), held });
    }

    fn keep(&mut self, ids: &[u32], tokens: usize) {
        self.keep_for(owner("a"), 0, ids, tokens);
    }

    fn open_for(&mut self, wanted: &Wanted, tokens: usize) -> Option<Opened<Room>> {
        let used = Rc::clone(&self.used);
        self.prefixes.open(wanted, || reserve(&used, tokens), |room| room.tokens >= tokens)
    }

    /// How many tokens are taken over, and whether they have to be copied; `None`: there is no room.
    fn open(&mut self, prompt: &[u32], tokens: usize) -> Option<(usize, bool)> {
        let wanted = Wanted { owner: owner("a"), regime: Some(0), prompt, rows: 1 };
        let opened = self.open_for(&wanted, tokens)?;
        assert_eq!(opened.slots.len(), 1);
        Some((opened.cached, opened.source.is_some()))
    }

    fn kept(&self) -> Vec<usize> {
        self.prefixes.0.iter().map(|kept| kept.ids.len()).collect()
    }
}

fn text(begin: u32, tokens: u32) -> Vec<u32> {
    (begin..begin + tokens).collect()
}

#[test]
fn one_token_is_always_left_to_read() {
    let mut fake = Fake::default();
    fake.keep(&text(0, 20), 20);
    assert_eq!(fake.open(&text(0, 20), 30), Some((19, true)));
    assert_eq!(fake.open(&text(0, 25), 30), Some((20, true)));
    assert_eq!(fake.open(&text(0, LEAST_TOKENS as u32), 30), Some((0, false)));
    assert_eq!(fake.open(&[], 30), Some((0, false)));
}

#[test]
fn a_text_that_goes_on_moves_and_one_that_turns_off_copies() {
    let mut fake = Fake::default();
    fake.keep(&text(0, 20), 40);
    let mut other = text(0, 18);
    other.push(99);
    assert_eq!(fake.open(&other, 40), Some((18, true)));
    assert_eq!(fake.kept(), [20]);
    // It is too small to go on in.
    assert_eq!(fake.open(&text(0, 25), 41), Some((20, true)));
    assert_eq!(fake.open(&text(0, 25), 40), Some((20, false)));
    assert_eq!(fake.kept(), [0; 0]);
}

#[test]
fn where_there_is_no_room_for_both_the_kept_one_becomes_the_text_or_gives_way() {
    let mut fake = Fake::default();
    fake.keep(&text(0, 20), 60);
    let mut other = text(0, 18);
    other.push(99);
    assert_eq!(fake.open(&other, 50), Some((18, false)));
    fake.keep(&text(0, 20), 60);
    assert_eq!(fake.open(&text(0, 30), 70), Some((0, false)));
    assert_eq!((fake.kept().len(), fake.used.get()), (0, 0));
}

#[test]
fn whoever_was_of_use_longest_ago_gives_way_first_and_no_more_than_is_needed() {
    let mut fake = Fake::default();
    for begin in [0, 100, 200] {
        fake.keep(&text(begin, 20), 30);
    }
    assert_eq!(fake.open(&text(0, 19), 10), Some((18, true)));
    // The second one is the oldest now; the first one is what this goes on from.
    assert_eq!(fake.open(&text(0, 25), 31), Some((20, true)));
    let begins: Vec<u32> = fake.prefixes.0.iter().map(|kept| kept.ids[0]).collect();
    assert_eq!(begins, [200, 0]);
}

#[test]
fn nobody_else_finds_what_is_kept() {
    let mut fake = Fake::default();
    fake.keep(&text(0, 20), 20);
    let prompt = text(0, 25);
    let with_adapter = Owner { adapter: Some(AdapterKey::new("lora", "1")), ..owner("a") };
    for (owner, regime) in
        [(owner("b"), Some(0)), (with_adapter, Some(0)), (owner("a"), Some(1)), (owner("a"), None)]
    {
        let wanted = Wanted { owner, regime, prompt: &prompt, rows: 1 };
        assert_eq!(fake.open_for(&wanted, 10).unwrap().cached, 0);
    }
    fake.keep_for(owner("b"), 0, &text(0, 22), 22);
    assert_eq!(fake.kept(), [20, 22]);
}

#[test]
fn what_another_text_goes_on_from_is_kept_only_once() {
    let mut fake = Fake::default();
    fake.keep(&text(0, 20), 20);
    fake.keep(&text(0, 30), 30);
    assert_eq!(fake.kept(), [30]);
    fake.keep(&text(50, 20), 20);
    fake.keep(&text(0, 25), 25);
    assert_eq!(fake.kept(), [20, 30]);
    assert_eq!(fake.used.get(), 50);
    fake.keep(&text(80, LEAST_TOKENS as u32 - 1), 20);
    assert_eq!(fake.kept(), [20, 30]);
}

#[test]
fn several_rows_copy_and_what_is_copied_from_stays_until_then() {
    let mut fake = Fake::default();
    fake.keep(&text(0, 20), 20);
    let prompt = text(0, 25);
    let wanted = Wanted { owner: owner("a"), regime: Some(0), prompt: &prompt, rows: 3 };
    let opened = fake.open_for(&wanted, 20).unwrap();
    assert_eq!((opened.slots.len(), opened.cached), (3, 20));
    // There is room for one more, and what the three will copy from frees none.
    let single = Wanted { rows: 1, ..wanted };
    let one = fake.open_for(&single, 20).unwrap();
    assert!(fake.open_for(&single, 20).is_none());
    drop(one);
    assert_eq!(fake.kept(), [20]);
    // Once they have copied it gives way.
    drop(opened.source);
    let two = Wanted { prompt: &[1], rows: 2, ..single };
    assert!(fake.open_for(&two, 20).is_some());
    assert_eq!(fake.kept(), [0; 0]);
}

#[derive(Clone, Debug)]
struct Action {
    keeps: bool,
    owner: bool,
    regime: u32,
    ids: Vec<u32>,
    tokens: usize,
    rows: usize,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    // Few different beginnings with few places to turn off, so that much is in common.
    let ids = (0_u32..2, prop::collection::vec((10_usize..30, 0_u32..2), 1..3)).prop_map(
        |(first, parts)| {
            let repeat = |(length, id): (usize, u32)| std::iter::repeat_n(id, length);
            std::iter::once(first).chain(parts.into_iter().flat_map(repeat)).collect::<Vec<u32>>()
        },
    );
    let action = (any::<bool>(), any::<bool>(), 0_u32..2, ids, 0_usize..20, 1_usize..4).prop_map(
        |(keeps, owner, regime, ids, more, rows)| {
            let tokens = ids.len() + more;
            Action { keeps, owner, regime, ids, tokens, rows }
        },
    );
    prop::collection::vec(action, 0..60)
}

proptest! {
    #[test]
    fn what_is_found_is_the_longest_and_the_arena_never_overflows(actions in actions()) {
        let mut fake = Fake::default();
        for Action { keeps, owner: first, regime, ids, tokens, rows } in actions {
            let owner = owner(if first { "a" } else { "b" });
            let in_common = |kept: &Prefix<Room>| {
                let tokens = (0..ids.len()).rev().find(|&n| kept.ids.starts_with(&ids[..n]));
                (tokens.unwrap_or(0), kept.held.tokens)
            };
            let (longest, its_room) = fake
                .prefixes
                .0
                .iter()
                .filter(|kept| kept.owner == owner && kept.regime == regime)
                .map(in_common)
                .max()
                .filter(|&(tokens, _)| tokens >= LEAST_TOKENS)
                .unwrap_or_default();
            let rows = if keeps { 1 } else { rows };
            let wanted = Wanted { owner: owner.clone(), regime: Some(regime), prompt: &ids, rows };
            let opened = fake.open_for(&wanted, tokens);
            prop_assert!(fake.used.get() <= ARENA);
            let Some(opened) = opened else {
                prop_assert!(rows * tokens > ARENA, "refused although all that is kept may go");
                prop_assert!(fake.prefixes.0.is_empty());
                continue;
            };
            prop_assert_eq!(opened.slots.len(), rows);
            prop_assert!(opened.slots.iter().all(|slot| slot.tokens >= tokens));
            prop_assert!(opened.cached < ids.len());
            // It is the longest, unless that had to go to make room.
            let had_to_go = || its_room + rows * tokens > ARENA;
            prop_assert!(opened.cached == longest || opened.cached == 0 && had_to_go());
            if let Some(source) = &opened.source {
                let kept = fake.prefixes.0.iter().find(|kept| Rc::ptr_eq(&kept.held, source));
                prop_assert!(kept.is_some_and(|kept| kept.ids.starts_with(&ids[..opened.cached])));
            }
            if keeps {
                drop(opened.source);
                let held = Rc::new(opened.slots.into_iter().next().expect("one row"));
                fake.prefixes.keep(Prefix { owner, regime, ids, held });
            }
            let kept: usize = fake.prefixes.held().map(|room| room.tokens).sum();
            prop_assert!(!keeps || fake.used.get() == kept, "what is not kept is free");
        }
    }
}
