//! A SentencePiece model file: the fields of `sentencepiece_model.proto` that change what a text becomes.

use prost::Message;

use crate::text::TextError;

#[derive(Clone, PartialEq, Message)]
pub struct ModelProto {
    #[prost(message, repeated, tag = "1")]
    pub pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    pub trainer_spec: Option<TrainerSpec>,
    #[prost(message, optional, tag = "3")]
    pub normalizer_spec: Option<NormalizerSpec>,
    /// How text is treated after decoding; no published model has one.
    #[prost(message, optional, tag = "5")]
    pub denormalizer_spec: Option<NormalizerSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Piece {
    #[prost(string, optional, tag = "1")]
    pub piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    pub score: Option<f32>,
    #[prost(enumeration = "PieceKind", optional, tag = "3", default = "Normal")]
    pub kind: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum PieceKind {
    Normal = 1,
    Unknown = 2,
    /// Never in a text (`<s>`).
    Control = 3,
    /// Always one piece, wherever it is in a text.
    UserDefined = 4,
    Unused = 5,
    /// `<0x0A>`.
    Byte = 6,
}

#[derive(Clone, PartialEq, Message)]
pub struct TrainerSpec {
    #[prost(enumeration = "ModelKind", optional, tag = "3", default = "Unigram")]
    pub model_type: Option<i32>,
    #[prost(bool, optional, tag = "24")]
    pub treat_whitespace_as_suffix: Option<bool>,
    #[prost(bool, optional, tag = "35")]
    pub byte_fallback: Option<bool>,
    #[prost(int32, optional, tag = "40", default = "0")]
    pub unk_id: Option<i32>,
    #[prost(int32, optional, tag = "41", default = "1")]
    pub bos_id: Option<i32>,
    #[prost(int32, optional, tag = "42", default = "2")]
    pub eos_id: Option<i32>,
    #[prost(string, optional, tag = "44", default = " \u{2047} ")]
    pub unk_surface: Option<String>,
    #[prost(string, optional, tag = "45", default = "<unk>")]
    pub unk_piece: Option<String>,
    #[prost(string, optional, tag = "46", default = "<s>")]
    pub bos_piece: Option<String>,
    #[prost(string, optional, tag = "47", default = "</s>")]
    pub eos_piece: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ModelKind {
    Unigram = 1,
    Bpe = 2,
    Word = 3,
    Char = 4,
}

#[derive(Clone, PartialEq, Message)]
pub struct NormalizerSpec {
    #[prost(bytes = "vec", optional, tag = "2")]
    pub precompiled_charsmap: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3", default = "true")]
    pub add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4", default = "true")]
    pub remove_extra_whitespaces: Option<bool>,
    #[prost(bool, optional, tag = "5", default = "true")]
    pub escape_whitespaces: Option<bool>,
}

/// Reads a model file; what cannot be one is an error that names it.
pub fn read(file: &str, bytes: &[u8]) -> Result<ModelProto, TextError> {
    let wrong = |message: String| TextError::Vocabulary { message: format!("{file}: {message}") };
    let mut proto = ModelProto::decode(bytes).map_err(|error| wrong(error.to_string()))?;
    if proto.pieces.is_empty() {
        return Err(wrong("it has no pieces".to_owned()));
    }
    if let Some(piece) = proto.pieces.iter().find(|piece| !piece.score().is_finite()) {
        return Err(wrong(format!("piece {:?} has a score that is no number", piece.piece())));
    }
    // What is not there has the format's own values.
    proto.trainer_spec.get_or_insert_default();
    proto.normalizer_spec.get_or_insert_default();
    let trainer = proto.trainer();
    let unknown = usize::try_from(trainer.unk_id()).ok().and_then(|id| proto.pieces.get(id));
    if unknown.is_none() {
        return Err(wrong(format!("unk_id = {} is no piece", trainer.unk_id())));
    }
    Ok(proto)
}

impl ModelProto {
    pub fn trainer(&self) -> &TrainerSpec {
        self.trainer_spec.as_ref().expect("set when it was read")
    }

    pub fn normalizer(&self) -> &NormalizerSpec {
        self.normalizer_spec.as_ref().expect("set when it was read")
    }

    /// `None` without one.
    pub fn charsmap(&self) -> Option<&[u8]> {
        Some(self.normalizer().precompiled_charsmap()).filter(|bytes| !bytes.is_empty())
    }
}
