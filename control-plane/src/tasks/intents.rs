//! What users want to do, in their words, and the tasks that do it.

/// One goal of a user.
pub struct Intent {
    pub id: &'static str,
    /// In the user's words.
    pub title: &'static str,
    /// `text`, `image`, `audio`, `video`, `3d` or `data`.
    pub modality: &'static str,
    /// Tasks that reach the goal, the usual one first.
    pub tasks: &'static [&'static str],
}

/// All goals, by modality.
pub const INTENTS: &[Intent] = &[
    Intent {
        id: "write",
        title: "Write or continue a text",
        modality: "text",
        tasks: &["text-generation"],
    },
    Intent {
        id: "rewrite",
        title: "Follow an instruction about a text",
        modality: "text",
        tasks: &["text2text-generation"],
    },
    Intent { id: "chat", title: "Chat", modality: "text", tasks: &["text-generation"] },
    Intent {
        id: "summarise",
        title: "Summarise a text",
        modality: "text",
        tasks: &["summarization"],
    },
    Intent { id: "translate", title: "Translate", modality: "text", tasks: &["translation"] },
    Intent {
        id: "classify-text",
        title: "Sort texts into classes",
        modality: "text",
        tasks: &["text-classification", "zero-shot-classification"],
    },
    Intent {
        id: "find-names",
        title: "Find names and terms in a text",
        modality: "text",
        tasks: &["token-classification"],
    },
    Intent {
        id: "answer-from-text",
        title: "Answer a question from a text or a table",
        modality: "text",
        tasks: &["question-answering", "table-question-answering"],
    },
    Intent {
        id: "fill-gap",
        title: "Fill a gap in a sentence",
        modality: "text",
        tasks: &["fill-mask"],
    },
    Intent {
        id: "embed-text",
        title: "Turn texts into vectors for search",
        modality: "text",
        tasks: &["feature-extraction"],
    },
    Intent {
        id: "compare-sentences",
        title: "Tell how similar sentences are",
        modality: "text",
        tasks: &["sentence-similarity"],
    },
    Intent {
        id: "rank-texts",
        title: "Rank texts for a query",
        modality: "text",
        tasks: &["text-ranking", "text-retrieval"],
    },
    Intent {
        id: "classify-image",
        title: "Tell what a picture shows",
        modality: "image",
        tasks: &["image-classification", "zero-shot-image-classification"],
    },
    Intent {
        id: "find-objects",
        title: "Find objects in a picture",
        modality: "image",
        tasks: &["object-detection", "zero-shot-object-detection"],
    },
    Intent {
        id: "cut-out",
        title: "Cut things out of a picture",
        modality: "image",
        tasks: &["image-segmentation", "mask-generation"],
    },
    Intent {
        id: "depth",
        title: "Measure depth in a picture",
        modality: "image",
        tasks: &["depth-estimation"],
    },
    Intent {
        id: "describe-image",
        title: "Describe a picture or answer questions about it",
        modality: "image",
        tasks: &["image-to-text", "image-text-to-text", "visual-question-answering"],
    },
    Intent {
        id: "read-document",
        title: "Answer questions about a document",
        modality: "image",
        tasks: &["document-question-answering", "visual-document-retrieval"],
    },
    Intent {
        id: "make-image",
        title: "Make a picture from words",
        modality: "image",
        tasks: &["text-to-image"],
    },
    Intent {
        id: "imagine-image",
        title: "Make pictures like those that a model has seen",
        modality: "image",
        tasks: &["unconditional-image-generation"],
    },
    Intent {
        id: "edit-image",
        title: "Change, enlarge or repair a picture",
        modality: "image",
        tasks: &["image-to-image", "image-super-resolution", "image-restoration"],
    },
    Intent {
        id: "transcribe",
        title: "Write down what is said",
        modality: "audio",
        tasks: &["automatic-speech-recognition"],
    },
    Intent {
        id: "speak",
        title: "Read a text aloud",
        modality: "audio",
        tasks: &["text-to-speech"],
    },
    Intent {
        id: "make-sound",
        title: "Make music or sounds from words",
        modality: "audio",
        tasks: &["text-to-audio"],
    },
    Intent {
        id: "classify-audio",
        title: "Tell what can be heard",
        modality: "audio",
        tasks: &[
            "audio-classification",
            "zero-shot-audio-classification",
            "voice-activity-detection",
        ],
    },
    Intent {
        id: "make-video",
        title: "Make a video from words or a picture",
        modality: "video",
        tasks: &["text-to-video", "image-to-video"],
    },
    Intent {
        id: "understand-video",
        title: "Tell what happens in a video",
        modality: "video",
        tasks: &["video-classification", "video-text-to-text"],
    },
    Intent {
        id: "make-3d",
        title: "Make a 3D object from words or a picture",
        modality: "3d",
        tasks: &["text-to-3d", "image-to-3d"],
    },
    Intent {
        id: "forecast",
        title: "Forecast a series of numbers",
        modality: "data",
        tasks: &["time-series-forecasting"],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::{TASKS, is_planned};

    #[test]
    fn intents_name_only_tasks_that_exist_or_are_planned() {
        for task in INTENTS.iter().flat_map(|intent| intent.tasks) {
            assert!(is_planned(task) || TASKS.iter().any(|known| known.id == *task), "{task}");
        }
    }

    #[test]
    fn every_task_serves_an_intent() {
        for task in TASKS {
            assert!(INTENTS.iter().any(|intent| intent.tasks.contains(&task.id)), "{}", task.id);
        }
    }
}
