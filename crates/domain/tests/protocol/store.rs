//! The coordinator's store in memory: the rules by which rows change, around `ursa_domain::lifecycle`.

use std::time::Duration;

use ursa_domain::lifecycle::IllegalTransition;
use ursa_domain::lifecycle::job::{self, JobEvent, JobOutcome, JobState, TaskCounts};
use ursa_domain::lifecycle::task::{self, TaskEvent, TaskState};
use ursa_domain::policy::JobPolicy;
use ursa_domain::{ErrorClass, Lease};
use uuid::Uuid;

/// How long a lease lives without a report.
pub(crate) const LEASE: Duration = Duration::from_secs(10);
/// How long a worker may take to stop.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// Why a request changed nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The lease is not current.
    LeaseLost,
    Illegal(IllegalTransition),
}

impl From<IllegalTransition> for Refused {
    fn from(error: IllegalTransition) -> Self {
        Self::Illegal(error)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) state: JobState,
    pub(crate) policy: JobPolicy,
    /// Tasks that have not ended, as the row counts them.
    pub(crate) open_tasks: usize,
    /// It took longer than it may.
    pub(crate) is_late: bool,
    /// When it takes longer than it may.
    expires_at: Option<Duration>,
}

#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) job: usize,
    pub(crate) state: TaskState,
    /// Number of the last attempt.
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    ready_at: Duration,
}

#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) lease: Lease,
    pub(crate) worker: usize,
    pub(crate) end: Option<End>,
    pub(crate) stop: Option<Stop>,
    expires_at: Duration,
    run_until: Option<Duration>,
    stop_asked_at: Duration,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Succeeded,
    /// At its worker's word.
    Told(ErrorClass),
    /// Its lease was taken back.
    Lost(ErrorClass),
}

/// Why an attempt was asked back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Cancelled,
    Deadline,
    Preempted,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Store {
    pub(crate) now: Duration,
    pub(crate) jobs: Vec<Job>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) attempts: Vec<Attempt>,
    /// The tasks whose results were written, as often as they were.
    pub(crate) effects: Vec<usize>,
}

/// A task by the id in a lease.
pub(crate) fn index(lease: &Lease) -> usize {
    lease.task_id.as_u128() as usize
}

impl Store {
    /// A job that waits; its tasks are planned already.
    pub(crate) fn submit(&mut self, policy: JobPolicy, tasks: usize) -> usize {
        let tasks = if policy.workers > 1 { policy.workers as usize } else { tasks };
        let job = self.jobs.len();
        let expires_at = policy.deadlines.total.map(|total| self.now + total);
        let task =
            Task { job, state: TaskState::Waiting, attempt: 0, max_attempts: policy.max_attempts, ready_at: self.now };
        self.tasks.extend(std::iter::repeat_n(task, tasks));
        self.jobs.push(Job { state: JobState::Waiting, policy, open_tasks: tasks, is_late: false, expires_at });
        job
    }

    pub(crate) fn tasks_of(&self, job: usize) -> Vec<usize> {
        (0..self.tasks.len()).filter(|task| self.tasks[*task].job == job).collect()
    }

    fn in_state(&self, job: usize, states: &[TaskState]) -> Vec<usize> {
        self.tasks_of(job).into_iter().filter(|task| states.contains(&self.tasks[*task].state)).collect()
    }

    pub(crate) fn open_attempt(&self, task: usize) -> Option<usize> {
        self.attempts.iter().position(|attempt| index(&attempt.lease) == task && attempt.end.is_none())
    }

    /// Ready tasks in the order in which they are given out; of a gang, only once all of it is ready.
    fn ready(&self) -> Vec<usize> {
        let is_whole = |task: &Task| {
            let job = &self.jobs[task.job];
            job.policy.workers <= 1 || self.in_state(task.job, &[TaskState::Ready]).len() == job.open_tasks
        };
        let is_ready = |task: &usize| self.tasks[*task].state == TaskState::Ready && is_whole(&self.tasks[*task]);
        let mut ready: Vec<usize> = (0..self.tasks.len()).filter(is_ready).collect();
        ready.sort_by_key(|task| (self.tasks[*task].ready_at, *task));
        ready
    }

    /// Leases the next task, and with it the rest of its gang, to workers from `worker` on.
    pub(crate) fn claim(&mut self, worker: usize) -> Result<Vec<Lease>, Refused> {
        let Some(first) = self.ready().first().copied() else { return Ok(Vec::new()) };
        let job = self.tasks[first].job;
        let is_gang = self.jobs[job].policy.workers > 1;
        let together = if is_gang { self.in_state(job, &[TaskState::Ready]) } else { vec![first] };
        let leases = together.into_iter().enumerate().map(|(place, task)| self.lease(task, worker + place));
        leases.collect()
    }

    fn lease(&mut self, at: usize, worker: usize) -> Result<Lease, Refused> {
        let task = &mut self.tasks[at];
        task.state = task::next(task.state, TaskEvent::Lease)?;
        task.attempt += 1;
        let lease = Lease {
            task_id: Uuid::from_u128(at as u128),
            attempt: task.attempt,
            token: Uuid::from_u128(self.attempts.len() as u128 + 1),
        };
        self.attempts.push(Attempt {
            lease,
            worker,
            end: None,
            stop: None,
            expires_at: self.now + LEASE,
            run_until: self.jobs[task.job].policy.deadlines.run.map(|run| self.now + run),
            stop_asked_at: Duration::ZERO,
        });
        Ok(lease)
    }

    /// The open attempt of a lease that is current.
    fn hold(&self, lease: &Lease) -> Result<usize, Refused> {
        let is_current = |attempt: &Attempt| attempt.lease == *lease && attempt.end.is_none();
        let held = self.attempts.iter().position(is_current).ok_or(Refused::LeaseLost)?;
        let task = &self.tasks[index(lease)];
        if task.attempt == lease.attempt && task.state.is_held() { Ok(held) } else { Err(Refused::LeaseLost) }
    }

    fn ended_as(&self, lease: &Lease) -> Option<End> {
        self.attempts.iter().find(|attempt| attempt.lease == *lease)?.end
    }

    /// A worker's report: renews what it lists and is current, and returns what it shall stop.
    pub(crate) fn report(&mut self, listed: &[Lease]) -> Result<Vec<Lease>, Refused> {
        let mut stop = Vec::new();
        for lease in listed {
            let Ok(held) = self.hold(lease) else {
                stop.push(*lease);
                continue;
            };
            self.attempts[held].expires_at = self.now + LEASE;
            let task = &mut self.tasks[index(lease)];
            if task.state == TaskState::Leased {
                task.state = task::next(task.state, TaskEvent::Start)?;
            }
            if self.attempts[held].stop.is_some() {
                stop.push(*lease);
            }
        }
        Ok(stop)
    }

    /// Ends an attempt well, and writes what it made.
    pub(crate) fn complete(&mut self, lease: &Lease) -> Result<(), Refused> {
        let held = match self.hold(lease) {
            Ok(held) => held,
            // The answer to the first request was lost on its way.
            Err(_) if self.ended_as(lease) == Some(End::Succeeded) => return Ok(()),
            Err(lost) => return Err(lost),
        };
        let at = index(lease);
        let task = &mut self.tasks[at];
        task.state = task::next(task.state, TaskEvent::Complete)?;
        self.effects.push(at);
        self.attempts[held].end = Some(End::Succeeded);
        self.count_ended(self.tasks[at].job)
    }

    /// Ends an attempt badly at the word of its worker.
    pub(crate) fn fail(&mut self, lease: &Lease, class: ErrorClass) -> Result<(), Refused> {
        match self.hold(lease) {
            Ok(held) => self.end_badly(held, class, End::Told),
            Err(_) if matches!(self.ended_as(lease), Some(End::Told(_))) => Ok(()),
            Err(lost) => Err(lost),
        }
    }

    fn end_badly(&mut self, held: usize, class: ErrorClass, end: fn(ErrorClass) -> End) -> Result<(), Refused> {
        let Attempt { lease, stop, .. } = self.attempts[held];
        // Whoever was asked to stop did so for that reason, whatever it says.
        let class = match stop {
            Some(Stop::Cancelled) => ErrorClass::Cancelled,
            Some(Stop::Deadline) => ErrorClass::Deadline,
            Some(Stop::Preempted) => ErrorClass::Returned,
            None => class,
        };
        let at = index(&lease);
        let (job, attempts_left) = (self.tasks[at].job, self.tasks[at].max_attempts - lease.attempt);
        let after = task::next(self.tasks[at].state, TaskEvent::Fail { class, attempts_left })?;
        let wait = match after {
            TaskState::RetryWait => self.jobs[job].policy.backoff.delay(lease.attempt, 0.5),
            _ => Duration::ZERO,
        };
        self.attempts[held].end = Some(end(class));
        self.tasks[at].state = after;
        self.tasks[at].ready_at = self.now + wait;
        self.tasks[at].max_attempts += u32::from(!class.uses_up_an_attempt());
        if after.is_terminal() {
            self.count_ended(job)?;
        }
        if self.jobs[job].policy.workers > 1 { self.break_up(job, after) } else { Ok(()) }
    }

    /// The others of a gang can do nothing without the one that stopped: they come back together, or not at all.
    fn break_up(&mut self, job: usize, after: TaskState) -> Result<(), Refused> {
        if after.is_terminal() {
            return self.stop_tasks(job);
        }
        for attempt in self.in_state(job, &[TaskState::Leased, TaskState::Running]) {
            self.ask_back(attempt, Stop::Preempted);
        }
        Ok(())
    }

    /// Asks a task's open attempt back, unless it was already.
    fn ask_back(&mut self, task: usize, reason: Stop) {
        let Some(open) = self.open_attempt(task) else { return };
        let attempt = &mut self.attempts[open];
        if attempt.stop.is_none() {
            (attempt.stop, attempt.stop_asked_at) = (Some(reason), self.now);
        }
    }

    /// Asks an attempt back for the sake of a more urgent one.
    pub(crate) fn preempt(&mut self, attempt: usize) {
        let task = index(&self.attempts[attempt].lease);
        if self.open_attempt(task) == Some(attempt) {
            self.ask_back(task, Stop::Preempted);
        }
    }

    /// Cancels what nobody works on, and asks for the rest back: nothing of it shall be tried again.
    fn stop_tasks(&mut self, job: usize) -> Result<(), Refused> {
        for task in self.in_state(job, &[TaskState::Waiting, TaskState::Ready, TaskState::RetryWait]) {
            self.tasks[task].state = task::next(self.tasks[task].state, TaskEvent::Cancel)?;
            self.jobs[job].open_tasks -= 1;
        }
        for task in self.in_state(job, &[TaskState::Leased, TaskState::Running]) {
            let Some(open) = self.open_attempt(task) else { continue };
            if self.attempts[open].stop != Some(Stop::Cancelled) {
                (self.attempts[open].stop, self.attempts[open].stop_asked_at) = (Some(Stop::Cancelled), self.now);
            }
        }
        Ok(())
    }

    fn count_ended(&mut self, job: usize) -> Result<(), Refused> {
        self.jobs[job].open_tasks -= 1;
        if self.jobs[job].policy.parallelism.is_some() && self.jobs[job].open_tasks > 0 {
            self.release_waiting(job)?;
        }
        Ok(())
    }

    fn release_waiting(&mut self, job: usize) -> Result<(), Refused> {
        let begun = [TaskState::Ready, TaskState::Leased, TaskState::Running, TaskState::RetryWait];
        let parallelism = self.jobs[job].policy.parallelism.map_or(usize::MAX, |parallelism| parallelism as usize);
        let room = parallelism.saturating_sub(self.in_state(job, &begun).len());
        for task in self.in_state(job, &[TaskState::Waiting]).into_iter().take(room) {
            self.tasks[task].state = task::next(self.tasks[task].state, TaskEvent::Release)?;
            self.tasks[task].ready_at = self.now;
        }
        Ok(())
    }

    fn move_job(&mut self, job: usize, event: JobEvent) -> Result<(), Refused> {
        self.jobs[job].state = job::next(self.jobs[job].state, event)?;
        Ok(())
    }

    pub(crate) fn start(&mut self, job: usize) -> Result<(), Refused> {
        self.move_job(job, JobEvent::Start)?;
        self.release_waiting(job)
    }

    pub(crate) fn cancel(&mut self, job: usize) -> Result<(), Refused> {
        self.move_job(job, JobEvent::Cancel)?;
        self.stop_tasks(job)
    }

    /// Another round for all that did not succeed.
    pub(crate) fn retry(&mut self, job: usize) -> Result<(), Refused> {
        self.move_job(job, JobEvent::Retry)?;
        let tasks = self.tasks_of(job);
        self.renew(job, &tasks);
        Ok(())
    }

    /// Another round for some tasks, none of which may be open or have succeeded.
    pub(crate) fn replay(&mut self, job: usize, tasks: &[usize]) -> Result<(), Refused> {
        for task in tasks {
            task::next(self.tasks[*task].state, TaskEvent::Retry)?;
        }
        if self.jobs[job].state != JobState::Running {
            self.move_job(job, JobEvent::Replay)?;
        }
        self.renew(job, tasks);
        if self.jobs[job].state == JobState::Running { self.release_waiting(job) } else { Ok(()) }
    }

    fn renew(&mut self, job: usize, tasks: &[usize]) {
        if self.jobs[job].state == JobState::Waiting {
            (self.jobs[job].is_late, self.jobs[job].expires_at) = (false, None);
        }
        for task in tasks {
            let task = &mut self.tasks[*task];
            if let Ok(after) = task::next(task.state, TaskEvent::Retry) {
                (task.state, task.max_attempts) = (after, task.attempt + self.jobs[job].policy.max_attempts);
                self.jobs[job].open_tasks += 1;
            }
        }
    }

    /// Ends a job whose tasks have all ended.
    pub(crate) fn settle(&mut self, job: usize) -> Result<(), Refused> {
        let row = &self.jobs[job];
        if row.open_tasks > 0 {
            return Ok(());
        }
        let outcome = match row.state {
            JobState::Running => {
                let counts: TaskCounts =
                    self.tasks_of(job).into_iter().map(|task| (self.tasks[task].state, 1)).collect();
                job::outcome(counts, row.policy.min_success_ratio)
            }
            JobState::Cancelling if row.is_late => Some(JobOutcome::Failed),
            JobState::Cancelling => Some(JobOutcome::Cancelled),
            _ => None,
        };
        outcome.map_or(Ok(()), |outcome| self.move_job(job, JobEvent::Finish(outcome)))
    }

    /// Everything that is due by itself.
    pub(crate) fn sweep(&mut self) -> Result<(), Refused> {
        for task in &mut self.tasks {
            if task.state == TaskState::RetryWait && task.ready_at <= self.now {
                (task.state, task.ready_at) = (task::next(task.state, TaskEvent::Wake)?, self.now);
            }
        }
        self.stop_overdue();
        self.expire_tasks()?;
        self.expire_jobs()?;
        self.expire_leases()
    }

    fn stop_overdue(&mut self) {
        let is_overdue = |attempt: &&Attempt| attempt.run_until.is_some_and(|until| until < self.now);
        let overdue = self.attempts.iter().filter(|attempt| attempt.end.is_none()).filter(is_overdue);
        for task in overdue.map(|attempt| index(&attempt.lease)).collect::<Vec<_>>() {
            self.ask_back(task, Stop::Deadline);
        }
    }

    fn expire_tasks(&mut self) -> Result<(), Refused> {
        for at in 0..self.tasks.len() {
            let Task { job, state, ready_at, .. } = self.tasks[at];
            let is_due = self.jobs[job].policy.deadlines.queue_wait.is_some_and(|wait| ready_at + wait < self.now);
            if state == TaskState::Ready && self.jobs[job].state == JobState::Running && is_due {
                self.tasks[at].state = task::next(state, TaskEvent::Expire)?;
                self.count_ended(job)?;
                if self.jobs[job].policy.workers > 1 {
                    self.stop_tasks(job)?;
                }
            }
        }
        Ok(())
    }

    fn expire_jobs(&mut self) -> Result<(), Refused> {
        for job in 0..self.jobs.len() {
            let is_due = self.jobs[job].expires_at.is_some_and(|at| at < self.now);
            if is_due && matches!(self.jobs[job].state, JobState::Waiting | JobState::Running) {
                self.move_job(job, JobEvent::Expire)?;
                self.jobs[job].is_late = true;
                self.stop_tasks(job)?;
            }
        }
        Ok(())
    }

    fn expire_leases(&mut self) -> Result<(), Refused> {
        for held in 0..self.attempts.len() {
            let attempt = &self.attempts[held];
            let is_stubborn = attempt.stop.is_some() && attempt.stop_asked_at + GRACE < self.now;
            if attempt.end.is_none() && (attempt.expires_at < self.now || is_stubborn) {
                self.end_badly(held, ErrorClass::Infrastructure, End::Lost)?;
            }
        }
        Ok(())
    }
}
