//! Tells a poll that was asked for from one that was not.
//!
//! A connection and the half that waits for its answer wake each other, and both are polled by the same task. Were that task's own waker handed to
//! them, each word between them would run the task once more, and with it everything else it drives, after the word had been heard long ago.

use std::{
    cell::Cell,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

/// The task that holds an exchange now.
#[derive(Default)]
struct Holder {
    /// It is polling both halves in this moment, and looks at the bells before it waits.
    at_work: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Holder {
    fn call(&self, waker: &Waker) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *task {
            Some(task) => task.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }
}

/// What one half is woken by.
struct Bell {
    rung: AtomicBool,
    holder: Arc<Holder>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, SeqCst);
        // Read after the bell was rung: whoever goes from work to waiting does it in the other order, so one of the two sees the other.
        if !self.holder.at_work.load(SeqCst)
            && let Some(task) = &*self.holder.task.lock().unwrap_or_else(PoisonError::into_inner)
        {
            task.wake_by_ref();
        }
    }
}

/// The bell of one half, and the waker that rings it.
struct Half {
    bell: Arc<Bell>,
    waker: Waker,
}

impl Half {
    fn new(holder: &Arc<Holder>) -> Self {
        let bell = Arc::new(Bell { rung: AtomicBool::new(false), holder: Arc::clone(holder) });
        Self { waker: Waker::from(Arc::clone(&bell)), bell }
    }

    /// Whatever rang so far is about to be looked at.
    fn heard(&self) -> Context<'_> {
        self.bell.rung.store(false, SeqCst);
        Context::from_waker(&self.waker)
    }

    fn is_rung(&self) -> bool {
        self.bell.rung.load(SeqCst)
    }
}

/// The two bells of a connection, and the task that they call.
pub(crate) struct Bells {
    holder: Arc<Holder>,
    line: Half,
    answer: Half,
    /// The last turn had nothing to go on with, and both halves are registered with their bells.
    waits: Cell<bool>,
}

impl Bells {
    pub(crate) fn new() -> Self {
        let holder = Arc::new(Holder::default());
        Self { line: Half::new(&holder), answer: Half::new(&holder), holder, waits: Cell::new(false) }
    }

    /// One turn of the task that holds the exchange: `poll` polls both halves with their contexts. While neither has rung it is not called, for it
    /// would find nothing new.
    pub(crate) fn turn<T>(&self, context: &Context<'_>, poll: impl FnOnce() -> Poll<T>) -> Poll<T> {
        self.holder.call(context.waker());
        if self.waits.get() && !self.is_rung() {
            return Poll::Pending;
        }
        self.holder.at_work.store(true, SeqCst);
        let polled = poll();
        self.holder.at_work.store(false, SeqCst);
        self.waits.set(polled.is_pending());
        if polled.is_pending() && self.is_rung() {
            // Rung after it was looked at, as by a half that has had its share of time and wants another turn.
            context.waker().wake_by_ref();
        }
        polled
    }

    /// To poll the connection with.
    pub(crate) fn line(&self) -> Context<'_> {
        self.line.heard()
    }

    /// To poll the answer with.
    pub(crate) fn answer(&self) -> Context<'_> {
        self.answer.heard()
    }

    /// Something has happened to the connection since it was polled last.
    pub(crate) fn line_is_rung(&self) -> bool {
        self.line.is_rung()
    }

    /// Nobody holds the connection: its bell is heard when it is taken again.
    pub(crate) fn rest(&self) {
        self.waits.set(false);
        *self.holder.task.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is_rung(&self) -> bool {
        self.line.is_rung() || self.answer.is_rung()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// A task that counts how often it was woken.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    fn task() -> (Arc<Task>, Waker) {
        let task = Arc::new(Task::default());
        (Arc::clone(&task), Waker::from(task))
    }

    #[test]
    fn a_word_between_the_halves_that_was_heard_in_its_turn_wakes_nobody() {
        let (task, waker) = task();
        let (bells, context) = (Bells::new(), Context::from_waker(&waker));
        let heard = bells.turn(&context, || {
            let answer = bells.answer().waker().clone();
            // The connection speaks while it is polled, the answer is polled behind it.
            let _ = bells.line();
            answer.wake();
            let _ = bells.answer();
            Poll::<()>::Pending
        });
        assert!(heard.is_pending());
        assert_eq!(task.0.load(SeqCst), 0);
        assert!(bells.turn(&context, || Poll::Ready(())).is_pending(), "nobody rang, so nothing is polled");
    }

    #[test]
    fn a_word_that_nobody_heard_yet_wakes_the_task_that_holds_them_now() {
        let ((first, first_waker), (second, second_waker)) = (task(), task());
        let bells = Bells::new();
        // Within the turn, after it was looked at: as soon as the turn is over.
        let line = bells.line().waker().clone();
        assert!(
            bells
                .turn(&Context::from_waker(&first_waker), || {
                    line.wake_by_ref();
                    Poll::<()>::Pending
                })
                .is_pending()
        );
        assert_eq!(first.0.load(SeqCst), 1);
        assert!(
            bells
                .turn(&Context::from_waker(&first_waker), || {
                    let _ = bells.line();
                    Poll::<()>::Pending
                })
                .is_pending()
        );
        // Between turns: at once, and whoever asked last.
        assert!(bells.turn(&Context::from_waker(&second_waker), || Poll::Ready(())).is_pending());
        line.wake_by_ref();
        assert_eq!((first.0.load(SeqCst), second.0.load(SeqCst)), (1, 1));
        assert!(bells.turn(&Context::from_waker(&second_waker), || Poll::Ready(())).is_ready());
        // At rest: nobody, but it is known.
        let _ = bells.line();
        bells.rest();
        line.wake();
        assert_eq!((first.0.load(SeqCst), second.0.load(SeqCst), bells.line_is_rung()), (1, 1, true));
    }
}
