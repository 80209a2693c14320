//! Planning what is done with models: find a rate, train, evaluate, explain, deploy.

use std::collections::HashMap;

use serde_json::{Value, json};
use ursa_domain::evaluation::places;
use ursa_domain::recipe::Recipe;
use ursa_domain::run::{ImageToExplain, Suggestion};
use ursa_domain::spec::{
    DeploySpec, EvaluateSpec, ExplainSpec, FindLrSpec, FoundRate, Learning, ModelRef, SnapshotRef, TrainSpec,
};
use ursa_domain::split::ClassCount;
use ursa_proto::{ApiError, ErrorCode};
use uuid::Uuid;

use super::super::checkpoints::named_checkpoint;
use super::super::jobs::{LockedJob, output_of, set_output};
use super::super::models::{resolve, snapshot_of};
use super::super::{StoreError, StoreResult, Tx};
use super::images::find_dataset;
use super::{NewTask, Plan};

/// What a network learns from, and how, with everything looked up.
pub(super) struct Lesson {
    pub(super) snapshot: Value,
    pub(super) recipe: Recipe,
}

/// The test looks at the last stage that trains alone, as it would begin.
pub(super) async fn plan_find_lr(tx: &mut Tx, job: &LockedJob, spec: &FindLrSpec) -> StoreResult<Plan> {
    let Lesson { snapshot, mut recipe } = look_up(tx, job, &spec.from).await?;
    if let Some(last) = recipe.last_stage() {
        recipe.stages = vec![recipe.stages.swap_remove(last)];
    }
    let inputs = json!({"snapshot": snapshot["digest"], "recipe": recipe, "test": spec.test});
    let payload = json!({"snapshot": snapshot, "recipe": recipe, "train_percent": 100, "test": spec.test});
    Ok(Plan::one("batches", payload, u64::from(spec.test.steps)).of_inputs(inputs))
}

/// One task for each seed and share of the training side.
pub(super) async fn plan_train(tx: &mut Tx, job: &LockedJob, spec: &TrainSpec) -> StoreResult<Plan> {
    let Lesson { snapshot, mut recipe } = look_up(tx, job, &spec.from).await?;
    if let Some(rate) = &spec.rate {
        recipe = recipe.with_found_rate(found_rate(tx, job, rate).await?, rate.end);
    }
    let mut inputs = json!({
        "snapshot": snapshot["digest"], "recipe": recipe, "seeds": spec.seeds, "train_percents": spec.train_percents,
    });
    if let Some(checkpoint) = &spec.checkpoint {
        inputs["checkpoint"] = json!(checkpoint);
    }
    let mut tasks = Vec::new();
    for (percent, place) in
        spec.train_percents.iter().flat_map(|percent| (0..spec.seeds).map(move |place| (*percent, place)))
    {
        let recipe = Recipe { seed: recipe.seed.wrapping_add(u64::from(place)), ..recipe.clone() };
        let start = match &spec.checkpoint {
            Some(checkpoint) => Some(named_checkpoint(tx, checkpoint, percent, recipe.seed).await?),
            None => None,
        };
        let payload = json!({"snapshot": snapshot, "recipe": recipe, "train_percent": percent, "start": start});
        tasks.push(NewTask::new(payload, u64::from(recipe.epochs())));
    }
    Ok(Plan::new("epochs", tasks).of_inputs(inputs))
}

pub(super) async fn look_up(tx: &mut Tx, job: &LockedJob, from: &Learning) -> StoreResult<Lesson> {
    let snapshot = find_snapshot(tx, job, &from.snapshot).await?;
    let recipe = match &from.model {
        None => from.recipe.clone(),
        Some(model) => going_on_from(tx, job, &from.recipe, model, &snapshot).await?,
    };
    Ok(Lesson { snapshot, recipe })
}

/// One task. That the model knows the classes is seen before anybody works on it.
pub(super) async fn plan_evaluate(tx: &mut Tx, job: &LockedJob, spec: &EvaluateSpec) -> StoreResult<Plan> {
    let snapshot = find_snapshot(tx, job, &spec.snapshot).await?;
    let model_digest = digest_of(tx, job, &spec.model).await?;
    let inputs = json!({"snapshot": snapshot["digest"], "model": model_digest});
    let mut payload = json!({"snapshot": snapshot, "model_digest": model_digest});
    let row = sqlx::query!(
        "select m.classes as known, s.classes from models m, snapshots s where m.digest = $1 and s.id = $2",
        model_digest,
        snapshot_of(&payload)?,
    )
    .fetch_one(&mut **tx)
    .await?;
    let unreadable = |error: serde_json::Error| StoreError::unreadable("classes of a model or a snapshot", &error);
    let known: Vec<String> = serde_json::from_value(row.known).map_err(unreadable)?;
    let counts: Vec<ClassCount> = serde_json::from_value(row.classes).map_err(unreadable)?;
    let classes: Vec<String> = counts.iter().map(|count| count.class.clone()).collect();
    places(&classes, &known).map_err(|unknown| ApiError::invalid(unknown.to_string()))?;
    let images: u64 = counts.iter().map(|count| count.train + count.valid).sum();
    payload["images"] = json!(images);
    Ok(Plan::one("images", payload, images).of_inputs(inputs))
}

/// One task. That the images are there and the model knows the classes is seen before anybody works on it.
pub(super) async fn plan_explain(tx: &mut Tx, job: &LockedJob, spec: &ExplainSpec) -> StoreResult<Plan> {
    let model_digest = digest_of(tx, job, &spec.model).await?;
    let known =
        sqlx::query_scalar!("select classes from models where digest = $1", model_digest).fetch_one(&mut **tx).await?;
    let known: Vec<String> =
        serde_json::from_value(known).map_err(|error| StoreError::unreadable("classes of a model", &error))?;
    let rows = sqlx::query!(
        r#"select i.id, i.normal_shard as "shard!", i.normal_offset, i.normal_length, c.name as label
        from images i join classes c on c.dataset_id = i.dataset_id and c.index = i.class_index
        where i.id = any ($1) and i.normal_shard is not null"#,
        &spec.images,
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let class = spec.of.class(&row.label, &known);
        let class = class.map_err(|unknown| ApiError::invalid(format!("image {}: {unknown}", row.id)))?;
        let class = class.map(str::to_owned);
        let (offset, length) = (row.normal_offset as u64, row.normal_length as u64);
        found.insert(row.id, ImageToExplain { id: row.id, shard: row.shard, offset, length, class });
    }
    let take = |id: &Uuid| found.remove(id).ok_or_else(|| ApiError::not_found("verified image", id));
    let images: Vec<ImageToExplain> = spec.images.iter().map(take).collect::<Result<_, _>>()?;
    let payload = json!({"model_digest": model_digest, "images": images});
    Ok(Plan::one("images", payload.clone(), images.len() as u64).of_inputs(payload))
}

/// The output of a job of the same pipeline that `job` takes a `what` from, its `member`. That there is none is the user's to
/// mend: whoever runs in any case runs also after a job that failed.
async fn output_with(tx: &mut Tx, job: &LockedJob, name: &str, what: &str, member: &str) -> StoreResult<Value> {
    let nothing = |why: &str| ApiError::invalid(format!("no {what} can be taken from job {name:?}: {why}"));
    let output = output_of(tx, job.id, name).await?.map_err(|why| nothing(&why))?;
    if output[member].is_null() {
        return Err(nothing("it has none").into());
    }
    Ok(output)
}

async fn find_snapshot(tx: &mut Tx, job: &LockedJob, snapshot: &SnapshotRef) -> StoreResult<Value> {
    match snapshot {
        SnapshotRef::FromJob(name) => {
            let output = output_with(tx, job, name, "snapshot", "snapshot_id").await?;
            let id = output["snapshot_id"].as_str().and_then(|id| Uuid::try_parse(id).ok());
            let id = id.ok_or_else(|| StoreError::unreadable("output of a snapshot job", &"it names no snapshot"))?;
            snapshot_by_id(tx, id).await
        }
        SnapshotRef::Numbered { dataset, number } => snapshot_by_name(tx, dataset, *number).await,
    }
}

/// A recipe that starts from a model; its head is kept where it knows the classes of the snapshot in the same order.
async fn going_on_from(
    tx: &mut Tx,
    job: &LockedJob,
    recipe: &Recipe,
    model: &ModelRef,
    snapshot: &Value,
) -> StoreResult<Recipe> {
    let digest = digest_of(tx, job, model).await?;
    let row = sqlx::query!("select architecture, classes, model_json from models where digest = $1", digest)
        .fetch_one(&mut **tx)
        .await?;
    if row.architecture != recipe.architecture.as_str() {
        let message = format!(
            "model {} is a {}, the recipe says {}: train the same architecture",
            &digest[..12],
            row.architecture,
            recipe.architecture
        );
        return Err(ApiError::invalid(message).into());
    }
    let described: Value =
        serde_json::from_str(&row.model_json).map_err(|error| StoreError::unreadable("model.json", &error))?;
    let sha256 = described["files"]["model.safetensors"]["sha256"].as_str();
    let sha256 = sha256.ok_or_else(|| StoreError::unreadable("model.json", &"it says nothing of its weights"))?;
    let going_on = recipe.going_on_from(&format!("model:{digest}"), sha256);
    Ok(Recipe { keep_head: row.classes == snapshot["classes"], ..going_on })
}

/// What a `find_lr` job of the same pipeline suggests.
async fn found_rate(tx: &mut Tx, job: &LockedJob, wanted: &FoundRate) -> StoreResult<f64> {
    let output = output_with(tx, job, &wanted.job, "rate", "suggestions").await?;
    let suggestions: Vec<Suggestion> = serde_json::from_value(output["suggestions"].clone())
        .map_err(|error| StoreError::unreadable("output of a find_lr job", &error))?;
    let found = suggestions.into_iter().find(|suggestion| suggestion.method == wanted.method);
    found.map(|suggestion| suggestion.rate).ok_or_else(|| {
        let why = output["error"].as_str().unwrap_or("it has no such suggestion");
        ApiError::invalid(format!("job {:?} found no rate by the method {}: {why}", wanted.job, wanted.method)).into()
    })
}

/// The full digest of the model that is meant.
async fn digest_of(tx: &mut Tx, job: &LockedJob, model: &ModelRef) -> StoreResult<String> {
    match model {
        ModelRef::FromJob(name) => {
            let output = output_with(tx, job, name, "model", "model_digest").await?;
            let digest = output["model_digest"].as_str().map(str::to_owned);
            digest.ok_or_else(|| StoreError::unreadable("output of a train job", &"it names no model"))
        }
        ModelRef::Digest(prefix) => resolve(&mut **tx, prefix).await,
    }
}

async fn snapshot_by_id(tx: &mut Tx, id: Uuid) -> StoreResult<Value> {
    let row = sqlx::query!(
        "select s.id, s.number, s.digest, jsonb_path_query_array(s.classes, '$[*].class') as classes, d.name from snapshots s join datasets d on d.id = s.dataset_id where s.id = $1",
        id,
    )
    .fetch_optional(&mut **tx)
    .await?
    .ok_or_else(|| ApiError::not_found("snapshot", id))?;
    Ok(json!({"id": row.id, "dataset": row.name, "number": row.number, "digest": row.digest, "classes": row.classes}))
}

async fn snapshot_by_name(tx: &mut Tx, dataset: &str, number: Option<u32>) -> StoreResult<Value> {
    let dataset_id = find_dataset(tx, dataset).await?;
    let row = sqlx::query!(
        "select id, number, digest, jsonb_path_query_array(classes, '$[*].class') as classes from snapshots where dataset_id = $1 and ($2::int is null or number = $2)
        order by number desc limit 1",
        dataset_id,
        number.map(|number| number as i32),
    )
    .fetch_optional(&mut **tx)
    .await?
    .ok_or_else(|| match number {
        Some(number) => ApiError::not_found("snapshot", format!("{dataset}@{number}")),
        None => ApiError::new(
            ErrorCode::NotFound,
            format!("dataset {dataset} has no snapshot yet: run a snapshot job first"),
        ),
    })?;
    Ok(json!({"id": row.id, "dataset": dataset, "number": row.number, "digest": row.digest, "classes": row.classes}))
}

pub(super) async fn plan_deploy(tx: &mut Tx, job: &LockedJob, spec: &DeploySpec) -> StoreResult<Plan> {
    let digest = digest_of(tx, job, &spec.model).await?;
    set_output(tx, job.id, &json!({"endpoint": spec.endpoint, "model_digest": digest})).await?;
    let payload = json!({"endpoint": spec.endpoint, "model_digest": digest, "timeout_seconds": spec.timeout_seconds});
    Ok(Plan::one("endpoints", payload, 1))
}
