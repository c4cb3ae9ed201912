//! `GET /api/models`: the models of the local hubs, searched, filtered and paged.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    App,
    answer::{ErrorAnswer, ErrorBody},
};
use crate::{catalog::Entry, failure::Failure, fleet::Fleet, tasks};

const DEFAULT_PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;

/// What to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CatalogueQuery {
    /// Part of the model id, whatever its case.
    search: Option<String>,
    /// Models that can be run for this task.
    task: Option<String>,
    /// The part of the id before the slash.
    author: Option<String>,
    /// Only models that this server can run, or only others.
    runnable: Option<bool>,
    /// Only models whose weights have at most this many bytes.
    max_bytes: Option<u64>,
    /// `name`, the only order of local hubs.
    sort: Option<String>,
    /// Rows per page (1 to 500; default 50).
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// One page of the catalogue.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CatalogueAnswer {
    models: Vec<CatalogueRow>,
    /// For the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// Rows on all pages.
    total: usize,
}

/// One model.
#[derive(Debug, Serialize, ToSchema)]
struct CatalogueRow {
    model_id: String,
    /// `local`: a folder given with `--hub`.
    source: String,
    /// The task it is made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<String>,
    /// Every task for which it can be run.
    tasks: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    architecture: Option<String>,
    parameters: u64,
    dtype: String,
    weight_bytes: u64,
    /// Whether this server can run it.
    runnable: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<ErrorBody>,
    /// Whether a worker has it loaded.
    loaded: bool,
}

impl CatalogueRow {
    fn of(entry: Entry, fleet: &Fleet) -> Self {
        let loaded = is_loaded(fleet, &entry.model_id);
        let (plan, failure) = match entry.plan {
            Ok(plan) => {
                let failure = plan.unsupported.as_ref().map(Failure::from);
                (Some(plan), failure)
            }
            Err(failure) => (None, Some(failure)),
        };
        let plan = plan.as_deref();
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        Self {
            model_id: entry.model_id,
            source: "local".to_owned(),
            task: plan.and_then(|plan| text(&plan.task)),
            tasks: plan.map(|plan| plan.tasks.clone()).unwrap_or_default(),
            architecture: plan.and_then(|plan| text(&plan.architecture)),
            parameters: plan.map_or(0, |plan| plan.parameters),
            dtype: plan.map(|plan| plan.dtype.clone()).unwrap_or_default(),
            weight_bytes: plan.map_or(0, |plan| plan.weight_bytes),
            runnable: failure.is_none(),
            reason: failure.as_ref().map(ErrorBody::from),
            loaded,
        }
    }

    fn passes(&self, query: &CatalogueQuery, task: Option<&str>) -> bool {
        let search = query.search.as_ref().map(|search| search.to_lowercase());
        let author = self.model_id.split_once('/').map(|(author, _)| author);
        search.is_none_or(|search| self.model_id.to_lowercase().contains(&search))
            && task.is_none_or(|task| {
                self.task.as_deref() == Some(task) || self.tasks.iter().any(|other| other == task)
            })
            && query.author.as_ref().is_none_or(|wanted| author == Some(wanted.as_str()))
            && query.runnable.is_none_or(|runnable| self.runnable == runnable)
            && query.max_bytes.is_none_or(|most| self.weight_bytes <= most)
    }
}

fn is_loaded(fleet: &Fleet, model_id: &str) -> bool {
    fleet.workers().iter().any(|worker| {
        let view = worker.view();
        let mut residencies = view.status.iter().flat_map(|status| &status.residencies);
        residencies.any(|residency| {
            residency.model_id == model_id && residency.state() == proto::ResidencyState::Ready
        })
    })
}

/// The models of the local hubs
#[utoipa::path(operation_id = "list_models", get, path = "/api/models", tag = "models", params(CatalogueQuery),
    responses((status = 200, body = CatalogueAnswer), (status = "4XX", body = ErrorAnswer)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    query: Result<Query<CatalogueQuery>, QueryRejection>,
) -> Result<Json<CatalogueAnswer>, Failure> {
    let Query(query) =
        query.map_err(|rejection| Failure::invalid("query", rejection.body_text()))?;
    let limit = query.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Failure::invalid("limit", format!("may be 1 to {LARGEST_PAGE}")));
    }
    if let Some(sort) = query.sort.as_deref().filter(|sort| *sort != "name") {
        return Err(Failure::invalid(
            "sort",
            format!("{sort:?} is not known of local hubs; there is: name"),
        ));
    }
    let task = query.task.as_deref().map(tasks::find).transpose()?.map(|task| task.id);
    let entries = app.catalog.list(&app.fleet).await;
    let rows = entries.into_iter().map(|entry| CatalogueRow::of(entry, &app.fleet));
    let rows: Vec<CatalogueRow> = rows.filter(|row| row.passes(&query, task)).collect();
    let total = rows.len();
    // The cursor is the last id of the page before, so that new models shift nothing.
    let after =
        |row: &CatalogueRow| query.cursor.as_ref().is_none_or(|cursor| row.model_id > *cursor);
    let mut page: Vec<CatalogueRow> = rows.into_iter().filter(after).take(limit + 1).collect();
    let more = page.len() > limit;
    page.truncate(limit);
    let next_cursor = page.last().filter(|_| more).map(|row| row.model_id.clone());
    Ok(Json(CatalogueAnswer { models: page, next_cursor, total }))
}
