//! Texts and pairs of texts as rows of tokens, within what the model takes.
//!
//! Reference: `tokenizers`' `TruncationStrategy`, which `transformers` calls `longest_first` and `only_first`.

use serde_json::Value;

use crate::{
    failure::{Code, Failure},
    tasks::{Files, TokenRow},
    text::{Encoding, Tokenizer},
};

/// What is cut of a row that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing: it is refused.
    Nothing,
    /// The longer of the two texts, and both when they are of one length.
    LongestFirst,
    /// The first text, never the second.
    OnlyFirst,
}

impl Cut {
    /// As the option `truncate` says.
    pub fn asked(truncate: Option<bool>, how: Self) -> Self {
        if truncate == Some(true) { how } else { Self::Nothing }
    }
}

pub struct Reader {
    tokenizer: Tokenizer,
    /// Most tokens of a row, special ones included.
    max_tokens: Option<usize>,
    /// Whether texts lose their beginning and not their end.
    cuts_beginning: bool,
    /// Whether the model tells the two texts of a pair apart.
    has_segments: bool,
}

impl Reader {
    pub fn read(files: &Files) -> Result<Self, Failure> {
        let tokenizer = crate::tasks::tokenizer(files)?;
        let config = files.json("config.json")?.unwrap_or_default();
        let own = files.json("tokenizer_config.json")?.unwrap_or_default();
        let sentences = files.json("sentence_bert_config.json")?.unwrap_or_default();
        let side = own.get("truncation_side").and_then(Value::as_str).unwrap_or("right");
        let cuts_beginning = match side {
            "right" => false,
            "left" => true,
            other => {
                let message =
                    format!("tokenizer_config.json: truncation_side = {other:?} is not supported");
                return Err(Failure::new(Code::FormatNotSupported, message)
                    .text("file", "tokenizer_config.json"));
            }
        };
        let limits = [
            number(&sentences, "max_seq_length"),
            positions(&config),
            tokenizer.model_max_length(),
        ];
        Ok(Self {
            max_tokens: limits.into_iter().flatten().min(),
            cuts_beginning,
            has_segments: has_segments(&config, &own),
            tokenizer,
        })
    }

    /// One text, or a pair; `field` names them where they are refused.
    pub fn row(
        &self,
        text: &str,
        pair: Option<&str>,
        cut: Cut,
        field: &str,
    ) -> Result<TokenRow, Failure> {
        let mut encoding = match pair {
            Some(pair) => self.tokenizer.encode_pair(text, pair, true)?,
            None => self.tokenizer.encode(text, true)?,
        };
        if encoding.ids.is_empty() {
            return Err(Failure::invalid(field, "has no tokens"));
        }
        if let Some(limit) = self.max_tokens.filter(|&limit| encoding.ids.len() > limit) {
            let tokens = encoding.ids.len();
            let is_cut = shorten(&mut encoding, limit, cut, self.cuts_beginning);
            if !is_cut {
                let message = format!("{field} has {tokens} tokens, the model takes {limit}");
                return Err(Failure::new(Code::InputTooLong, message)
                    .at(field)
                    .number("tokens", tokens as u64)
                    .number("limit", limit as u64));
            }
        }
        if !self.has_segments {
            encoding.type_ids.fill(0);
        }
        Ok(TokenRow { ids: encoding.ids, type_ids: encoding.type_ids, prompt_tokens: 0 })
    }
}

fn number(value: &Value, name: &str) -> Option<usize> {
    value.get(name).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok())
}

/// Whether the model tells the two texts of a pair apart, by its config and its tokenizer's.
pub fn has_segments(config: &Value, tokenizer_config: &Value) -> bool {
    let names = tokenizer_config.get("model_input_names").and_then(Value::as_array);
    let is_given = names.is_none_or(|names| names.iter().any(|name| name == "token_type_ids"));
    is_given && number(config, "type_vocab_size") != Some(1)
}

/// Tokens that the positions of the config suffice for.
pub fn positions(config: &Value) -> Option<usize> {
    let rows = number(config, "max_position_embeddings")?;
    let counts_from = match config.get("model_type").and_then(Value::as_str) {
        // Their positions begin behind that of the padding.
        Some("roberta" | "xlm-roberta" | "camembert") => {
            number(config, "pad_token_id").unwrap_or(1) + 1
        }
        Some("mpnet") => 2,
        _ => 0,
    };
    Some(rows.saturating_sub(counts_from))
}

/// Cuts to `limit` tokens; `false` when that cannot be done.
fn shorten(encoding: &mut Encoding, limit: usize, cut: Cut, cuts_beginning: bool) -> bool {
    let count = |text: usize| encoding.sequence.iter().filter(|&&from| from == Some(text)).count();
    let (first, second) = (count(0), count(1));
    let put_in = encoding.ids.len() - first - second;
    let Some(room) = limit.checked_sub(put_in) else { return false };
    let kept = match cut {
        Cut::Nothing => return false,
        Cut::OnlyFirst => match room.checked_sub(second).filter(|&kept| kept > 0) {
            Some(kept) => [kept, second],
            None => return false,
        },
        Cut::LongestFirst => longest_first(first, second, room),
    };
    let (lengths, mut seen) = ([first, second], [0, 0]);
    let is_kept: Vec<bool> = encoding
        .sequence
        .iter()
        .map(|from| {
            let Some(text) = *from else { return true };
            let at = seen[text];
            seen[text] += 1;
            if cuts_beginning { at >= lengths[text] - kept[text] } else { at < kept[text] }
        })
        .collect();
    keep(&mut encoding.ids, &is_kept);
    keep(&mut encoding.type_ids, &is_kept);
    keep(&mut encoding.offsets, &is_kept);
    keep(&mut encoding.special, &is_kept);
    keep(&mut encoding.sequence, &is_kept);
    true
}

fn keep<T>(values: &mut Vec<T>, is_kept: &[bool]) {
    let mut at = 0;
    values.retain(|_| {
        at += 1;
        is_kept[at - 1]
    });
}

/// How many tokens of each text remain: the longer one is cut to what the shorter leaves, and both to halves where even
/// the shorter has more than half.
fn longest_first(first: usize, second: usize, room: usize) -> [usize; 2] {
    let (short, long) = (first.min(second), first.max(second));
    let long = if short > room { short } else { short.max(room - short).min(long) };
    let (short, long) =
        if short + long > room { (room / 2, room - room / 2) } else { (short, long) };
    if first > second { [long, short] } else { [short, long] }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `[CLS] a… [SEP] b… [SEP]`
    fn pair(first: u32, second: u32) -> Encoding {
        let texts = [vec![None], vec![Some(0); first as usize], vec![None]];
        let pair = [vec![Some(1); second as usize], vec![None]];
        let sequence: Vec<Option<usize>> = texts.into_iter().chain(pair).flatten().collect();
        let n = sequence.len();
        Encoding {
            ids: (0..n as u32).collect(),
            type_ids: vec![0; n],
            offsets: vec![(0, 0); n],
            special: sequence.iter().map(Option::is_none).collect(),
            words: vec![None; n],
            sequence,
        }
    }

    #[test]
    fn the_longer_text_is_cut_first() {
        for (first, second, room, expected) in [
            (10, 4, 10, [6, 4]),
            (4, 10, 10, [4, 6]),
            (10, 10, 7, [3, 4]),
            (9, 8, 7, [4, 3]),
            (20, 0, 5, [5, 0]),
        ] {
            assert_eq!(longest_first(first, second, room), expected, "{first} {second} {room}");
        }
    }

    #[test]
    fn what_was_put_in_stays_where_it_is() {
        let mut cut = pair(3, 2);
        assert!(shorten(&mut cut, 6, Cut::OnlyFirst, false));
        assert_eq!(cut.ids, [0, 1, 4, 5, 6, 7]);
        let mut cut = pair(3, 2);
        assert!(shorten(&mut cut, 6, Cut::OnlyFirst, true));
        assert_eq!(cut.ids, [0, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn what_cannot_be_cut_is_refused() {
        assert!(!shorten(&mut pair(3, 2), 7, Cut::Nothing, false));
        assert!(!shorten(&mut pair(3, 5), 8, Cut::OnlyFirst, false));
        assert!(!shorten(&mut pair(3, 5), 2, Cut::LongestFirst, false));
    }

    #[test]
    fn positions_behind_the_padding_are_fewer() {
        let config =
            |model_type: &str| json!({"model_type": model_type, "max_position_embeddings": 514});
        assert_eq!(positions(&config("roberta")), Some(512));
        assert_eq!(positions(&config("bert")), Some(514));
        assert_eq!(positions(&json!({})), None);
    }
}
