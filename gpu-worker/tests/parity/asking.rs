//! A request to a pipeline of pictures, from its admission to its answer.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Instant,
};

use gpu_worker::{
    failure::Failure,
    media::{self, Limits, Picture},
    tasks::{
        AdapterUse, Counters, Event, Finish, Job, JobCount, Pipelines, Prepared, Work,
        outbox::{Inbox, outbox},
    },
};
use proto::{ProgressEvent, infer_result::Output, media::Content};
use serde_json::Value;

use crate::pipeline::{Brought, Repository};

/// A request on its way.
pub struct Asked {
    inbox: Inbox<Event>,
    finish: Option<Finish>,
    pub progress: Vec<ProgressEvent>,
    pub verdicts: Vec<Option<bool>>,
}

impl Asked {
    pub fn of(pipelines: &mut Pipelines, prepared: Prepared, tenant: &str) -> Self {
        Self::with_adapter(pipelines, prepared, tenant, None)
    }

    pub fn with_adapter(
        pipelines: &mut Pipelines,
        prepared: Prepared,
        tenant: &str,
        adapter: Option<AdapterUse>,
    ) -> Self {
        let (outbox, inbox) = outbox(1 << 20);
        let now = Instant::now();
        assert!(matches!(prepared.work, Work::Paint(_) | Work::Imagine(_)));
        pipelines.admit(Job {
            adapter,
            work: Some(prepared.work),
            tenant: tenant.into(),
            outbox,
            priority: 0,
            arrived: now,
            submitted: now,
            deadline: None,
            count: JobCount::new(&Arc::new(AtomicUsize::new(0))),
            span: tracing::Span::none(),
            counters: Arc::new(Counters::default()),
            late_steps: 0,
            has_ended: false,
        });
        Self { inbox, finish: Some(prepared.finish), progress: Vec::new(), verdicts: Vec::new() }
    }

    /// Reads to the end.
    pub fn answer(&mut self) -> Result<(Vec<Picture>, Vec<String>), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let made = runtime.block_on(async {
            while let Some(event) = self.inbox.next().await {
                match event {
                    Event::Progress(progress) => self.progress.push(progress),
                    Event::Made(made, _) => return Ok(made),
                    Event::Failed(failure) => return Err(failure),
                    _ => {}
                }
            }
            panic!("the pipeline said nothing");
        })?;
        let Output::Images(output) = self.finish.take().unwrap()(made)? else {
            panic!("the output is another task's");
        };
        self.verdicts = output.images.iter().map(|image| image.is_refused).collect();
        let picture = |image: proto::MadeImage| {
            let Some(Content::Inline(bytes)) = image.image.unwrap().content else {
                panic!("a picture without its bytes")
            };
            let picture = media::decode(&bytes, &Limits::default()).unwrap();
            assert_eq!((picture.width, picture.height), (image.width, image.height));
            picture
        };
        Ok((output.images.into_iter().map(picture).collect(), output.notices))
    }
}

pub fn step(pipelines: &mut Pipelines) -> bool {
    let mut has_stepped = false;
    for pipeline in pipelines.iter_mut() {
        if pipeline.prepare_step(Instant::now()).is_some() {
            pipeline.step();
            has_stepped = true;
        }
    }
    has_stepped
}

pub fn paint(repository: &Repository, request: &Value, brought: &Brought) -> (Vec<Picture>, Asked) {
    let mut pipelines = repository.pipelines();
    let prepared = repository.prepare_with(request, brought).unwrap();
    let mut asked = Asked::of(&mut pipelines, prepared, "");
    while step(&mut pipelines) {}
    let (pictures, _) = asked.answer().unwrap();
    (pictures, asked)
}
