//! Running tasks, and the definitions that they are copies of.

use axum::Json;
use axum::extract::State;

use crate::model::TaskDefinitionId;
use crate::store::{self, Consistency, Kv, RangeReq, Store, codec, keys};

use super::Shared;
use super::dto::{Task, TaskDefinition};
use super::failure::Failure;
use super::problem::Problem;
use super::segment::Segment;
use super::services::shown;

/// Lists the tasks that run on the node that answers.
#[utoipa::path(
    get,
    path = "/v1/tasks",
    tag = "tasks",
    responses((status = 200, description = "The tasks by service and number", body = Vec<Task>)),
)]
pub(super) async fn list(State(node): Shared) -> Json<Vec<Task>> {
    let mut cells = node.parts.table.all();
    cells.sort_by(|a, b| a.name().cmp(b.name()));
    let mut tasks = Vec::new();
    for cell in cells {
        let view = cell.view();
        let definition = view.deployment.as_ref();
        let definition = definition.map_or(String::new(), |d| d.definition.id.to_string());
        let new = |task| Task::new(cell.name(), &definition, &node.parts.node, task);
        tasks.extend(view.tasks.iter().map(new));
    }
    Json(tasks)
}

/// Lists every task definition.
#[utoipa::path(
    get,
    path = "/v1/task-definitions",
    tag = "tasks",
    responses(
        (status = 200, description = "The definitions by family and revision",
            body = Vec<TaskDefinition>),
        (status = 503, description = "`state-unavailable`", body = Problem),
    ),
)]
pub(super) async fn definitions(State(node): Shared) -> Result<Json<Vec<TaskDefinition>>, Failure> {
    let records = read_all(&*node.parts.store).await?;
    let definitions = records.iter().filter_map(|record| {
        codec::decode(record)
            .inspect_err(|error| tracing::error!(%error, "a record of the store is left out"))
            .ok()
    });
    Ok(Json(definitions.map(|d: crate::model::TaskDefinition| (&d).into()).collect()))
}

/// Describes a task definition, `family:revision`.
#[utoipa::path(
    get,
    path = "/v1/task-definitions/{id}",
    tag = "tasks",
    params(("id" = String, Path, description = "`family:revision`")),
    responses(
        (status = 200, description = "The definition", body = TaskDefinition),
        (status = 404, description = "`task-definition-not-found`", body = Problem),
        (status = 503, description = "`state-unavailable`", body = Problem),
    ),
)]
pub(super) async fn definition(
    State(node): Shared,
    Segment(text): Segment,
) -> Result<Json<TaskDefinition>, Failure> {
    let store = &*node.parts.store;
    if let Ok(id) = text.parse::<TaskDefinitionId>() {
        let range = RangeReq::key(keys::task_definition(id.family.as_str(), id.revision));
        let found = store.range(range, Consistency::Linearizable).await?;
        if let Some(record) = found.kvs.first() {
            let definition: crate::model::TaskDefinition =
                codec::decode(record).map_err(store::Error::from)?;
            return Ok(Json((&definition).into()));
        }
    }
    let ids = read_all(store).await?;
    let ids = ids.iter().filter_map(|record| keys::parse_task_definition(&record.key));
    let known = ids.map(|(family, revision)| format!("{family}:{revision}")).collect();
    Err(Failure::NoDefinition { id: shown(&text), known })
}

async fn read_all(store: &dyn Store) -> Result<Vec<Kv>, store::Error> {
    let range = RangeReq::prefix(keys::TASKS);
    Ok(store.range(range, Consistency::Linearizable).await?.kvs)
}
