//! Messages that nobody waits for: one thread writes them in their order, while a pass lives that has to end whatever the reader of
//! the log does.

use std::{
    cell::RefCell,
    sync::{Arc, Condvar, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

/// The messages that are still to be written.
#[derive(Debug, Default)]
pub struct Aside {
    queue: RefCell<Option<mpsc::Sender<String>>>,
    waiting: Arc<(Mutex<usize>, Condvar)>,
}

impl Aside {
    /// Takes a message, which `write` writes when those before it are written. Gives it back where no thread can be started.
    ///
    /// # Errors
    /// The message itself.
    pub fn say(&self, message: String, write: impl Fn(&str) + Send + 'static) -> Result<(), String> {
        let mut queue = self.queue.borrow_mut();
        if queue.is_none() {
            let (sender, messages) = mpsc::channel::<String>();
            let waiting = self.waiting.clone();
            let started = thread::Builder::new().spawn(move || {
                for message in messages {
                    write(&message);
                    *waiting.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
                    waiting.1.notify_all();
                }
            });
            *queue = started.ok().map(|_| sender);
        }
        let Some(sender) = queue.as_ref() else { return Err(message) };
        *self.waiting.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        sender.send(message).map_err(|mpsc::SendError(message)| message)
    }

    /// Waits until everything is written, this long at most where there is a limit.
    pub fn settle(&self, longest: Option<Duration>) {
        let mut waiting = self.waiting.0.lock().unwrap_or_else(PoisonError::into_inner);
        match longest {
            Some(longest) => drop(self.waiting.1.wait_timeout_while(waiting, longest, |waiting| *waiting > 0)),
            None => {
                while *waiting > 0 {
                    waiting = self.waiting.1.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_order_and_none_is_lost() {
        let (aside, written) = (Aside::default(), Arc::new(Mutex::new(Vec::new())));
        let (go, held) = mpsc::channel::<()>();
        let (held, kept) = (Mutex::new(held), written.clone());
        let write: Arc<dyn Fn(&str) + Send + Sync> = Arc::new(move |message| {
            // The reader takes nothing before it is told to.
            if kept.lock().expect("one writer").is_empty() {
                let _ = held.lock().expect("one writer").recv();
            }
            kept.lock().expect("one writer").push(message.to_owned());
        });
        let all: Vec<_> = (0..20).map(|number| number.to_string()).collect();
        for message in &all {
            let write = write.clone();
            aside.say(message.clone(), move |message| write(message)).expect("a thread");
        }
        aside.settle(Some(Duration::from_millis(1)));
        assert!(written.lock().expect("not poisoned").is_empty());
        drop(go);
        aside.settle(None);
        assert_eq!(*written.lock().expect("not poisoned"), all);
    }
}
