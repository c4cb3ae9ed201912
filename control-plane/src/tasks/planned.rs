//! Tasks of the Hub that this server knows by name but does not run yet.

const PLANNED: &[&str] = &[
    "any-to-any",
    "audio-classification",
    "audio-text-to-text",
    "audio-to-audio",
    "automatic-speech-recognition",
    "depth-estimation",
    "document-question-answering",
    "image-captioning",
    "image-feature-extraction",
    "image-segmentation",
    "image-text-to-text",
    "image-to-3d",
    "image-to-text",
    "image-to-video",
    "keypoint-detection",
    "mask-generation",
    "object-detection",
    "text-to-3d",
    "text-to-audio",
    "text-to-speech",
    "text-to-video",
    "time-series-forecasting",
    "video-classification",
    "video-text-to-text",
    "visual-document-retrieval",
    "visual-question-answering",
    "voice-activity-detection",
    "zero-shot-audio-classification",
    "zero-shot-image-classification",
    "zero-shot-object-detection",
];

/// Whether the name is a task of the Hub that is not supported yet.
pub fn is_planned(name: &str) -> bool {
    PLANNED.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_has_no_task_that_is_there() {
        assert!(PLANNED.is_sorted());
        for task in crate::tasks::TASKS {
            assert!(!is_planned(task.id), "{}", task.id);
        }
    }
}
