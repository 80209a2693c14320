//! What makes a pipeline acceptable, and in which order its jobs can run.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::explanation::Explained;
use crate::lifecycle::job::Condition;
use crate::policy::{JobPolicy, within};
use crate::search::SearchSpec;
use crate::spec::{
    DeploySpec, EvaluateSpec, ExplainSpec, FindLrSpec, JobSpec, Learning, ModelRef, ProbeSpec, ScrapeSpec, SnapshotRef,
    SnapshotSpec, TrainSpec, VerifySpec,
};

/// Whose a pipeline is that does not say.
pub const DEFAULT_PROJECT: &str = "default";
/// The most tasks of all probes of a pipeline.
pub const MAX_PROBES: u32 = 1_000_000;
/// The most seeds one job may train with.
pub const MAX_SEEDS: u32 = 50;
/// The most points a learning curve may have.
pub const MAX_SHARES: usize = 20;
/// The most images one job explains.
pub const MAX_EXPLAINED: usize = 64;
/// A longer word is near to none.
const LONGEST_WORD: usize = 200;
/// The most jobs one pipeline may have.
pub const MAX_JOBS: usize = 100;

/// A DAG of jobs, submitted as one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineSpec {
    /// For people.
    pub name: String,
    /// Whose it is.
    pub project: String,
    /// Whether a job takes over what an earlier one made of the same inputs.
    pub reuse: bool,
    /// The jobs.
    pub jobs: Vec<JobDefinition>,
}

/// One job of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobDefinition {
    /// Unique within the pipeline.
    pub name: String,
    /// Jobs that must end first, besides the one whose output the specification names.
    pub after: Vec<String>,
    /// How it is worked on.
    pub policy: JobPolicy,
    /// What it does.
    pub spec: JobSpec,
}

impl JobDefinition {
    /// The names of all jobs it waits for, each once.
    pub fn dependencies(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.after.iter().map(String::as_str).collect();
        names.extend(self.spec.inputs().into_iter().map(|(name, _)| name));
        let mut seen = HashSet::new();
        names.retain(|name| seen.insert(*name));
        names
    }
}

/// Why a pipeline is refused. Every message says where and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PipelineError {
    /// No jobs.
    #[error("the pipeline has no jobs: add at least one under `jobs`")]
    Empty,
    /// More than [`MAX_JOBS`].
    #[error("the pipeline has {0} jobs; at most {MAX_JOBS} are allowed: split it")]
    TooManyJobs(usize),
    /// A name that is not one.
    #[error("{what} {name:?} is not a name: use 1 to 100 letters, digits, '-', '_' and '.', not starting with '.'")]
    BadName {
        /// What it names.
        what: &'static str,
        /// What stands there.
        name: String,
    },
    /// Two jobs of one name.
    #[error("two jobs are called {0:?}: give each its own name")]
    DuplicateJob(String),
    /// A dependency that is not in the pipeline.
    #[error("job {job:?} waits for {dependency:?}, which is not in the pipeline{}", did_you_mean(.nearest.as_deref()))]
    UnknownDependency {
        /// The job.
        job: String,
        /// What it names.
        dependency: String,
        /// A job with a similar name.
        nearest: Option<String>,
    },
    /// A job that waits for itself.
    #[error("the jobs wait for each other in a circle: {}", .0.join(" → "))]
    Cycle(Vec<String>),
    /// A specification that cannot work.
    #[error("job {job:?}: {reason}")]
    BadSpec {
        /// The job.
        job: String,
        /// What is wrong and what to do.
        reason: String,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default()
}

/// Whether `name` may name a job, a dataset or an endpoint. Such names never become part of an object's key.
pub fn is_name(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// Whether `name` may name a class: as [`is_name`], but any script, and spaces inside.
pub fn is_class_name(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && name.trim() == name
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' '))
}

/// Checks everything that can be checked without looking at the state of the system.
pub fn check(pipeline: &PipelineSpec) -> Result<(), PipelineError> {
    require_name("pipeline", &pipeline.name)?;
    require_name("project", &pipeline.project)?;
    match pipeline.jobs.len() {
        0 => return Err(PipelineError::Empty),
        count if count > MAX_JOBS => return Err(PipelineError::TooManyJobs(count)),
        _ => {}
    }
    let by_name = index(&pipeline.jobs)?;
    for job in &pipeline.jobs {
        check_dependencies(job, &by_name)?;
        let bad = |reason| PipelineError::BadSpec { job: job.name.clone(), reason };
        job.policy.check().and_then(|()| check_gang(job)).and_then(|()| check_condition(job)).map_err(bad)?;
        check_spec(&job.spec).map_err(bad)?;
    }
    check_probes(&pipeline.jobs)?;
    match find_cycle(&pipeline.jobs) {
        Some(cycle) => Err(PipelineError::Cycle(cycle)),
        None => Ok(()),
    }
}

fn require_name(what: &'static str, name: &str) -> Result<(), PipelineError> {
    if is_name(name) { Ok(()) } else { Err(PipelineError::BadName { what, name: name.to_owned() }) }
}

fn index(jobs: &[JobDefinition]) -> Result<HashMap<&str, &JobDefinition>, PipelineError> {
    let mut by_name = HashMap::new();
    for job in jobs {
        require_name("job", &job.name)?;
        if by_name.insert(job.name.as_str(), job).is_some() {
            return Err(PipelineError::DuplicateJob(job.name.clone()));
        }
    }
    Ok(by_name)
}

/// Several workers at once make sense only for as many tasks.
fn check_gang(job: &JobDefinition) -> Result<(), String> {
    match (&job.spec, job.policy.workers) {
        (_, 1) => Ok(()),
        (JobSpec::Probe(probe), workers) if probe.tasks == workers => Ok(()),
        (JobSpec::Probe(_), _) => Err("workers must be the number of tasks, or 1".into()),
        (spec, workers) => Err(format!("workers is {workers}, but a {} job works with one at a time", spec.kind())),
    }
}

/// Of a job that did not succeed nothing can be taken. Whoever runs only when not all that it waits for succeeded has to wait
/// for another than those that it takes something from.
fn check_condition(job: &JobDefinition) -> Result<(), String> {
    let inputs = job.spec.inputs();
    let is_input = |name: &str| inputs.iter().any(|(input, _)| *input == name);
    let can_be = inputs.is_empty() || !job.dependencies().into_iter().all(is_input);
    if job.policy.condition != Condition::OnFailure || can_be {
        return Ok(());
    }
    Err("condition is on_failure, but it takes something from every job that it waits for, and of one that did not \
         succeed nothing can be taken: name another one in `after`, or leave the condition out"
        .into())
}

fn check_dependencies(job: &JobDefinition, by_name: &HashMap<&str, &JobDefinition>) -> Result<(), PipelineError> {
    for dependency in job.dependencies() {
        if !by_name.contains_key(dependency) {
            return Err(PipelineError::UnknownDependency {
                job: job.name.clone(),
                dependency: dependency.to_owned(),
                nearest: nearest(dependency, by_name.keys().copied()).map(str::to_owned),
            });
        }
    }
    for (input, wanted) in job.spec.inputs() {
        let found = by_name[input].spec.kind();
        if !wanted.contains(&found) {
            let wanted = wanted.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
            let reason =
                format!("takes its input from job {input:?}, which is a {found} job; it must be a {wanted} job");
            return Err(PipelineError::BadSpec { job: job.name.clone(), reason });
        }
    }
    Ok(())
}

/// The candidate that differs from `word` in the fewest letters, if it is near enough to be meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody takes so long a word for another one, and to compare it takes as long as it is.
    let candidates = candidates.into_iter().filter(|_| word.len() <= LONGEST_WORD);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(word.len()) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

fn find_cycle(jobs: &[JobDefinition]) -> Option<Vec<String>> {
    let edges: HashMap<&str, Vec<&str>> = jobs.iter().map(|job| (job.name.as_str(), job.dependencies())).collect();
    let mut done = HashSet::new();
    jobs.iter().find_map(|job| walk(&job.name, &edges, &mut Vec::new(), &mut done))
}

fn walk<'a>(
    name: &'a str,
    edges: &HashMap<&'a str, Vec<&'a str>>,
    path: &mut Vec<&'a str>,
    done: &mut HashSet<&'a str>,
) -> Option<Vec<String>> {
    if let Some(start) = path.iter().position(|visited| *visited == name) {
        return Some(path[start..].iter().chain([&name]).map(|name| (*name).to_owned()).collect());
    }
    if done.contains(name) {
        return None;
    }
    path.push(name);
    let cycle = edges[name].iter().find_map(|dependency| walk(dependency, edges, path, done));
    path.pop();
    done.insert(name);
    cycle
}

fn check_spec(spec: &JobSpec) -> Result<(), String> {
    if let Some(dataset) = spec.dataset() {
        check_name("dataset", dataset)?;
    }
    match spec {
        JobSpec::Scrape(scrape) => check_scrape(scrape),
        JobSpec::Verify(verify) => check_verify(verify),
        JobSpec::Snapshot(snapshot) => check_snapshot(snapshot),
        JobSpec::FindLr(find_lr) => check_find_lr(find_lr),
        JobSpec::Train(train) => check_train(train),
        JobSpec::Search(search) => check_search(search),
        JobSpec::Evaluate(evaluate) => check_evaluate(evaluate),
        JobSpec::Explain(explain) => check_explain(explain),
        JobSpec::Deploy(deploy) => check_deploy(deploy),
        JobSpec::SgdLab(lab) => lab.check().map_err(|invalid| invalid.to_string()),
        JobSpec::Probe(probe) => check_probe(probe),
    }
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    if is_name(name) {
        return Ok(());
    }
    Err(format!("{what} {name:?} is not a name: use 1 to 100 letters, digits, '-', '_' and '.', not starting with '.'"))
}

fn check_scrape(spec: &ScrapeSpec) -> Result<(), String> {
    if spec.classes.is_empty() && spec.retry_sources.is_empty() {
        return Err("has no classes: give at least one URL list".into());
    }
    let mut names = HashSet::new();
    for class in &spec.classes {
        if !is_class_name(&class.name) {
            return Err(format!(
                "{:?} cannot be the name of a class: use letters, digits, '-', '_', '.' and inner spaces",
                class.name
            ));
        }
        if !names.insert(&class.name) {
            return Err(format!("class {:?} has two lists: put their URLs into one", class.name));
        }
        if class.urls.iter().all(|url| url.trim().is_empty()) {
            return Err(format!(
                "the URL list of class {:?} ({}) is empty: it needs one URL per line",
                class.name, class.list_name
            ));
        }
    }
    let options = &spec.options;
    within("max_images_per_class", options.max_images_per_class, 1, 100_000)?;
    within("urls_per_task", options.urls_per_task, 1, 2000)?;
    within("concurrency", options.concurrency, 1, 256)?;
    within("timeout_ms", options.timeout_ms, 100, 600_000)?;
    within("max_bytes", options.max_bytes, 1024, 256 << 20)
}

fn check_verify(spec: &VerifySpec) -> Result<(), String> {
    let options = &spec.options;
    within("max_side", options.max_side, 16, 8192)?;
    within("min_side", options.min_side, 1, 4096)?;
    within("max_pixels", options.max_pixels, 256, 1 << 30)?;
    within("max_frames", options.max_frames, 1, 100_000)
}

fn check_snapshot(spec: &SnapshotSpec) -> Result<(), String> {
    within("valid_percent", spec.valid_percent, 1, 99)
}

fn check_find_lr(spec: &FindLrSpec) -> Result<(), String> {
    check_learning(&spec.from)?;
    spec.test.check().map_err(|invalid| invalid.to_string())
}

fn check_train(spec: &TrainSpec) -> Result<(), String> {
    check_learning(&spec.from)?;
    within("seeds", spec.seeds, 1, MAX_SEEDS)?;
    let percents = &spec.train_percents;
    let rising = percents.windows(2).all(|pair| pair[0] < pair[1]);
    if percents.is_empty() || percents.len() > MAX_SHARES || !rising {
        return Err(format!("train_percents must be 1 to {MAX_SHARES} rising numbers, for instance 25, 50, 100"));
    }
    percents.iter().try_for_each(|percent| within("train_percents", *percent, 1, 100))?;
    spec.keep_checkpoints.check().map_err(|invalid| invalid.inside("keep_checkpoints").to_string())
}

fn check_search(spec: &SearchSpec) -> Result<(), String> {
    check_learning(&spec.from)?;
    let recipe = match &spec.from.model {
        // Which model is known later, but that there are weights is known now.
        Some(_) => spec.from.recipe.going_on_from("a model", &"0".repeat(64)),
        None => spec.from.recipe.clone(),
    };
    spec.check(&recipe).map_err(|invalid| invalid.to_string())
}

fn check_learning(from: &Learning) -> Result<(), String> {
    check_snapshot_ref(&from.snapshot)?;
    let Some(model) = &from.model else { return from.recipe.check().map_err(|invalid| invalid.to_string()) };
    if from.recipe.pretrained.is_some() {
        return Err("goes on from a model and from pretrained weights: name one of them".into());
    }
    check_model_ref(model)?;
    from.recipe.going_on_from("a model", &"0".repeat(64)).check().map_err(|invalid| invalid.to_string())
}

fn check_evaluate(spec: &EvaluateSpec) -> Result<(), String> {
    check_snapshot_ref(&spec.snapshot)?;
    check_model_ref(&spec.model)
}

fn check_explain(spec: &ExplainSpec) -> Result<(), String> {
    check_model_ref(&spec.model)?;
    within("the number of images", spec.images.len(), 1, MAX_EXPLAINED)?;
    let mut seen = HashSet::new();
    if let Some(image) = spec.images.iter().find(|image| !seen.insert(**image)) {
        return Err(format!("image {image} is named twice"));
    }
    match &spec.of {
        Explained::Class(class) if !is_class_name(class) => Err(format!("{class:?} cannot be the name of a class")),
        _ => Ok(()),
    }
}

fn check_deploy(spec: &DeploySpec) -> Result<(), String> {
    check_name("endpoint", &spec.endpoint)?;
    within("timeout_seconds", spec.timeout_seconds, 1, 3600)?;
    check_model_ref(&spec.model)
}

fn check_snapshot_ref(snapshot: &SnapshotRef) -> Result<(), String> {
    match snapshot {
        SnapshotRef::FromJob(_) => Ok(()),
        SnapshotRef::Numbered { dataset, .. } => check_name("dataset", dataset),
    }
}

fn check_model_ref(model: &ModelRef) -> Result<(), String> {
    match model {
        ModelRef::FromJob(_) => Ok(()),
        ModelRef::Digest(digest) => check_digest(digest),
    }
}

fn check_digest(digest: &str) -> Result<(), String> {
    if digest.len() >= 8 && digest.chars().all(|c| c.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(format!("model digest {digest:?} must be at least 8 hexadecimal digits"))
}

/// Their tasks are written with the pipeline.
fn check_probes(jobs: &[JobDefinition]) -> Result<(), PipelineError> {
    let mut tasks = 0_u32;
    for job in jobs {
        let JobSpec::Probe(probe) = &job.spec else { continue };
        tasks = tasks.saturating_add(probe.tasks);
        if tasks > MAX_PROBES {
            let reason = format!(
                "all probes of a pipeline may have {MAX_PROBES} tasks together, and with this one they have more"
            );
            return Err(PipelineError::BadSpec { job: job.name.clone(), reason });
        }
    }
    Ok(())
}

fn check_probe(spec: &ProbeSpec) -> Result<(), String> {
    within("tasks", spec.tasks, 1, MAX_PROBES)?;
    within("duration_ms", spec.duration_ms, 0, 86_400_000)?;
    within("failures", spec.failures, 0, spec.tasks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{Method, RateEnd, Recipe};
    use crate::search::{Hyperparameter, Range, Space};
    use crate::spec::{ClassUrls, FoundRate, ScrapeOptions, VerifyOptions};

    fn job(name: &str, after: &[&str]) -> JobDefinition {
        let spec = JobSpec::Verify(VerifySpec { dataset: "bears".into(), options: VerifyOptions::default() });
        let after = after.iter().map(|name| (*name).to_owned()).collect();
        JobDefinition { name: name.into(), after, policy: JobPolicy::default(), spec }
    }

    fn message(jobs: Vec<JobDefinition>) -> String {
        check(&PipelineSpec { name: "p".into(), project: DEFAULT_PROJECT.into(), reuse: false, jobs })
            .unwrap_err()
            .to_string()
    }

    fn scrape(urls: &[&str]) -> JobDefinition {
        let urls = urls.iter().map(|url| (*url).to_owned()).collect();
        let spec = JobSpec::Scrape(ScrapeSpec {
            dataset: "bears".into(),
            classes: vec![ClassUrls { name: "teddy".into(), list_name: "urls_teddys.txt".into(), urls }],
            options: ScrapeOptions::default(),
            retry_sources: Vec::new(),
        });
        JobDefinition { spec, ..job("scrape", &[]) }
    }

    #[test]
    fn a_circle_is_shown_as_one() {
        let jobs = vec![job("a", &["c"]), job("b", &["a"]), job("c", &["b"])];
        assert_eq!(message(jobs), "the jobs wait for each other in a circle: a → c → b → a");
        assert_eq!(message(vec![job("a", &["a"])]), "the jobs wait for each other in a circle: a → a");
    }

    #[test]
    fn a_misspelt_dependency_names_the_nearest_job() {
        let text = message(vec![job("snapshot", &[]), job("train", &["snapshto"])]);
        assert!(text.contains("did you mean \"snapshot\"?"), "{text}");
    }

    #[test]
    fn an_empty_list_is_named_with_its_file() {
        let text = message(vec![scrape(&["", "  "])]);
        assert!(text.contains("teddy") && text.contains("urls_teddys.txt") && text.contains("empty"), "{text}");
    }

    #[test]
    fn names_that_could_become_paths_are_refused() {
        for name in ["", ".", "..", "../x", "a/b", "a\\b", "a;b", "a%2e", "ä", &"x".repeat(101)] {
            assert!(!is_name(name), "{name:?}");
        }
        assert!(is_class_name("grizzly bear") && is_class_name("Bär") && !is_class_name(" x") && !is_class_name("a/b"));
    }

    #[test]
    fn a_train_job_takes_its_input_from_a_snapshot_job() {
        let spec = JobSpec::Train(TrainSpec::once(learning("scrape")));
        let text = message(vec![scrape(&["http://x"]), JobDefinition { spec, ..job("train", &[]) }]);
        assert!(text.contains("must be a snapshot job"), "{text}");
    }

    fn learning(snapshot: &str) -> Learning {
        Learning { snapshot: SnapshotRef::FromJob(snapshot.into()), recipe: Recipe::default(), model: None }
    }

    /// What is said of a train job that takes its rate from `rate`, after `change`.
    fn refusal(rate: Option<&str>, change: fn(&mut TrainSpec)) -> String {
        let rate = rate.map(|job| FoundRate { job: job.into(), method: Method::Valley, end: RateEnd::Highest });
        let mut train = TrainSpec { rate, ..TrainSpec::once(learning("snapshot")) };
        change(&mut train);
        let snapshot = SnapshotSpec { dataset: "bears".into(), seed: 1, valid_percent: 20 };
        let jobs = vec![
            JobDefinition { spec: JobSpec::Snapshot(snapshot), ..job("snapshot", &[]) },
            JobDefinition { spec: JobSpec::Train(train), ..job("train", &[]) },
        ];
        message(jobs)
    }

    #[test]
    fn a_rate_comes_from_a_job_that_finds_rates() {
        let text = refusal(Some("snapshot"), |_| {});
        assert!(text.contains("must be a find_lr job"), "{text}");
    }

    /// A pipeline of a snapshot, and a search and a deploy job that take theirs from `search` and `deploy`.
    fn searched(change: fn(&mut SearchSpec), model: &str) -> PipelineSpec {
        let snapshot = SnapshotSpec { dataset: "bears".into(), seed: 1, valid_percent: 20 };
        let rates = Range::LogUniform(1e-4, 1e-2);
        let space = Space([(Hyperparameter::MaxLearningRate, rates)].into());
        let mut search = SearchSpec::new(learning("snapshot"), space);
        change(&mut search);
        let model = ModelRef::FromJob(model.into());
        let deploy = DeploySpec { endpoint: "bears".into(), model, timeout_seconds: 20 };
        let jobs = vec![
            JobDefinition { spec: JobSpec::Snapshot(snapshot), ..job("snapshot", &[]) },
            JobDefinition { spec: JobSpec::Search(search), ..job("search", &[]) },
            JobDefinition { spec: JobSpec::Deploy(deploy), ..job("deploy", &[]) },
        ];
        PipelineSpec { name: "p".into(), project: DEFAULT_PROJECT.into(), reuse: false, jobs }
    }

    #[test]
    fn the_best_model_of_a_search_can_be_served() {
        check(&searched(|_| {}, "search")).unwrap();
        let text = check(&searched(|_| {}, "snapshot")).unwrap_err().to_string();
        assert!(text.contains("must be a train or search job"), "{text}");
    }

    #[test]
    fn all_probes_of_a_pipeline_have_no_more_tasks_than_one_may_have() {
        let probes = |tasks: &[u32]| {
            let probe = |(place, tasks): (usize, &u32)| JobDefinition {
                spec: JobSpec::Probe(ProbeSpec { tasks: *tasks, duration_ms: 0, failures: 0 }),
                ..job(&format!("probe-{place}"), &[])
            };
            let jobs = tasks.iter().enumerate().map(probe).collect();
            check(&PipelineSpec { name: "p".into(), project: DEFAULT_PROJECT.into(), reuse: false, jobs })
        };
        assert_eq!(probes(&[MAX_PROBES - 1, 1]), Ok(()));
        let text = probes(&[MAX_PROBES, 1]).unwrap_err().to_string();
        assert!(text.starts_with("job \"probe-1\"") && text.contains("1000000"), "{text}");
    }

    #[test]
    fn whoever_runs_only_after_a_failure_takes_nothing_from_the_job_that_fails() {
        let on_failure = |after: &[&str]| {
            let mut pipeline = searched(|_| {}, "search");
            pipeline.jobs.push(job("other", &[]));
            let deploy = &mut pipeline.jobs[2];
            deploy.policy.condition = Condition::OnFailure;
            deploy.after = after.iter().map(|name| (*name).to_owned()).collect();
            check(&pipeline).map_err(|error| error.to_string())
        };
        for after in [&[] as &[&str], &["search"]] {
            let text = on_failure(after).unwrap_err();
            assert!(text.starts_with("job \"deploy\": condition is on_failure") && text.contains("`after`"), "{text}");
        }
        assert_eq!(on_failure(&["other"]), Ok(()));
        let mut alarm = job("alarm", &["other"]);
        alarm.policy.condition = Condition::OnFailure;
        let mut pipeline = searched(|_| {}, "search");
        pipeline.jobs.extend([job("other", &[]), alarm]);
        assert_eq!(check(&pipeline), Ok(()));
    }

    /// A pipeline of a snapshot and a job that evaluates this model on this snapshot.
    fn evaluated(snapshot: SnapshotRef, model: ModelRef) -> Result<(), PipelineError> {
        let frozen = SnapshotSpec { dataset: "bears".into(), seed: 1, valid_percent: 20 };
        let jobs = vec![
            JobDefinition { spec: JobSpec::Snapshot(frozen), ..job("snapshot", &[]) },
            JobDefinition { spec: JobSpec::Evaluate(EvaluateSpec { snapshot, model }), ..job("evaluate", &[]) },
        ];
        check(&PipelineSpec { name: "p".into(), project: DEFAULT_PROJECT.into(), reuse: false, jobs })
    }

    #[test]
    fn a_model_is_evaluated_on_a_snapshot_and_on_nothing_else() {
        let from = |job: &str| SnapshotRef::FromJob(job.into());
        let named = |dataset: &str| SnapshotRef::Numbered { dataset: dataset.into(), number: Some(3) };
        let model = |digest: &str| ModelRef::Digest(digest.into());
        evaluated(from("snapshot"), model("01234567")).unwrap();
        evaluated(named("bears"), model("01234567")).unwrap();
        let cases = [
            (from("evaluate"), model("01234567"), "must be a snapshot job"),
            (from("freeze"), model("01234567"), "\"freeze\", which is not in the pipeline"),
            (from("snapshot"), ModelRef::FromJob("snapshot".into()), "must be a train or search job"),
            (from("snapshot"), model("cafe"), "at least 8 hexadecimal digits"),
            (named("../bears"), model("01234567"), "dataset \"../bears\" is not a name"),
        ];
        for (snapshot, model, said) in cases {
            let text = evaluated(snapshot, model).unwrap_err().to_string();
            assert!(text.starts_with("job \"evaluate\"") && text.contains(said), "{said}: {text}");
        }
    }

    #[test]
    fn images_are_explained_each_once_and_no_more_than_a_job_holds() {
        let checked = |images: &[u128], digest: &str, of| {
            let images = images.iter().copied().map(uuid::Uuid::from_u128).collect();
            let spec = ExplainSpec { model: ModelRef::Digest(digest.into()), images, of };
            check_spec(&JobSpec::Explain(spec))
        };
        let most: Vec<u128> = (0..MAX_EXPLAINED as u128).collect();
        assert_eq!(checked(&most, "01234567", Explained::Predicted), Ok(()));
        assert_eq!(checked(&[1], "01234567", Explained::Class("big bear".into())), Ok(()));
        let more: Vec<u128> = (0..=MAX_EXPLAINED as u128).collect();
        for (images, digest, of, said) in [
            (&[] as &[u128], "01234567", Explained::Actual, "number of images is 0"),
            (&more, "01234567", Explained::Actual, "number of images is 65"),
            (&[1, 2, 1], "01234567", Explained::Actual, "00000001 is named twice"),
            (&[1], "cafe", Explained::Actual, "at least 8 hexadecimal digits"),
            (&[1], "01234567", Explained::Class("../bear".into()), "cannot be the name of a class"),
        ] {
            let text = checked(images, digest, of).unwrap_err();
            assert!(text.contains(said), "{said}: {text}");
        }
    }

    #[test]
    fn a_search_that_cannot_be_made_is_refused_by_key() {
        type Change = fn(&mut SearchSpec);
        let cases: [(&str, Change); 4] = [
            ("space is empty", |search| search.space = Space::default()),
            ("min_epochs is 5, but a trial has 4", |search| search.min_epochs = 5),
            ("reduction is 1", |search| search.reduction = 1),
            ("batch_size is 1", |search| search.from.recipe.batch_size = 1),
        ];
        for (said, change) in cases {
            let text = check(&searched(change, "search")).unwrap_err().to_string();
            assert!(text.starts_with("job \"search\": ") && text.contains(said), "{said}: {text}");
        }
    }

    #[test]
    fn runs_that_cannot_be_are_refused_by_key() {
        type Change = fn(&mut TrainSpec);
        let cases: [(&str, Change); 7] = [
            ("seeds is 0", |train| train.seeds = 0),
            ("keep_checkpoints.last is 0", |train| train.keep_checkpoints.last = 0),
            ("train_percents", |train| train.train_percents = vec![50, 25]),
            ("train_percents is 101", |train| train.train_percents = vec![101]),
            ("frozen", |train| train.from.recipe.stages[0].frozen = true),
            ("name one of them", |train| {
                train.from.recipe = train.from.recipe.going_on_from("/w", "");
                train.from.model = Some(ModelRef::Digest("01234567".into()));
            }),
            ("hexadecimal", |train| train.from.model = Some(ModelRef::Digest("cafe".into()))),
        ];
        for (said, change) in cases {
            let text = refusal(None, change);
            assert!(text.contains(said), "{said}: {text}");
        }
    }
}
