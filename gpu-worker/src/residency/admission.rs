//! Whether a load may start together with the eviction of its victims: all of it, or nothing. Pure, and of `std` alone,
//! since the model check of the control plane compiles this file too.

/// A residency, as far as admission cares.
#[derive(Clone, Debug)]
pub struct Holding {
    pub id: String,
    pub generation: u64,
    /// Bytes that count against the budget.
    pub bytes: u64,
    /// Its bytes are on their way back, for a load that is charged already.
    pub promised: bool,
    /// Why it may not leave now; `None`: it may.
    pub held_by: Option<&'static str>,
}

/// Why a load may not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// It would not fit into an empty worker.
    TooLarge,
    /// A victim is not as its sender saw it.
    VictimChanged { id: String, why: &'static str },
    /// Its victims don't suffice; bytes that would be free without them.
    NoRoom { free: u64 },
}

/// Which of the victims have to leave, as places in `victims`: none when there is room without them.
pub fn admit(
    budget: u64,
    needed: u64,
    holdings: &[Holding],
    victims: &[(&str, u64)],
) -> Result<Vec<usize>, Denial> {
    if needed > budget {
        return Err(Denial::TooLarge);
    }
    let charged: u64 = holdings.iter().map(|holding| holding.bytes).sum();
    let mut free = budget.saturating_sub(charged);
    if free >= needed {
        // There is room: nobody has to leave, whatever the caller believed.
        return Ok(Vec::new());
    }
    // A budget that was lowered may be exceeded even when all releases are over: that much has to come back first.
    let staying = holdings.iter().filter(|holding| !holding.promised);
    let mut excess = staying.map(|holding| holding.bytes).sum::<u64>().saturating_sub(budget);
    for (place, (id, generation)) in victims.iter().enumerate() {
        let changed = |why| Denial::VictimChanged { id: (*id).to_owned(), why };
        if victims[..place].iter().any(|(other, _)| other == id) {
            return Err(changed("it is named twice"));
        }
        let holding = holdings.iter().find(|holding| holding.id == *id);
        let holding = holding.ok_or_else(|| changed("it is gone"))?;
        if holding.generation != *generation {
            return Err(changed("its generation is another"));
        }
        if let Some(why) = holding.held_by {
            return Err(changed(why));
        }
        let repaid = excess.min(holding.bytes);
        excess -= repaid;
        free += holding.bytes - repaid;
    }
    if free >= needed { Ok((0..victims.len()).collect()) } else { Err(Denial::NoRoom { free }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(id: &str, bytes: u64) -> Holding {
        Holding { id: id.to_owned(), generation: 1, bytes, promised: false, held_by: None }
    }

    #[test]
    fn nobody_leaves_when_there_is_room() {
        assert_eq!(admit(10, 6, &[holding("a", 4)], &[("a", 1)]), Ok(Vec::new()));
    }

    #[test]
    fn a_victim_must_be_as_it_was_seen() {
        let busy = Holding { held_by: Some("busy"), ..holding("b", 4) };
        let here = [holding("a", 4), busy];
        for (victim, why) in
            [(("c", 1), "it is gone"), (("a", 2), "its generation is another"), (("b", 1), "busy")]
        {
            let denial = Denial::VictimChanged { id: victim.0.to_owned(), why };
            assert_eq!(admit(8, 4, &here, &[victim]), Err(denial));
        }
        assert_eq!(admit(8, 4, &here, &[("a", 1)]), Ok(vec![0]));
        let twice = admit(8, 6, &here, &[("a", 1), ("a", 1)]);
        assert!(matches!(twice, Err(Denial::VictimChanged { .. })));
    }

    #[test]
    fn victims_that_do_not_suffice_stay() {
        let here = [holding("a", 4), holding("b", 4)];
        assert_eq!(admit(8, 6, &here, &[("a", 1)]), Err(Denial::NoRoom { free: 4 }));
        assert_eq!(admit(8, 9, &here, &[]), Err(Denial::TooLarge));
    }

    #[test]
    fn what_leaves_for_one_load_is_not_in_the_way_of_another() {
        let leaving = Holding { promised: true, held_by: Some("releasing"), ..holding("a", 5) };
        let here = [leaving, holding("b", 5), holding("c", 5)];
        assert_eq!(admit(10, 5, &here, &[("c", 1)]), Ok(vec![0]));
        assert_eq!(admit(10, 1, &here, &[]), Err(Denial::NoRoom { free: 0 }));
    }

    #[test]
    fn a_budget_that_was_lowered_is_kept_to() {
        let here = [holding("a", 4), holding("b", 4)];
        assert_eq!(admit(4, 2, &here, &[("a", 1)]), Err(Denial::NoRoom { free: 0 }));
        assert_eq!(admit(4, 2, &here, &[("a", 1), ("b", 1)]), Ok(vec![0, 1]));
    }
}
