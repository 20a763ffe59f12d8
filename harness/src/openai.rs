//! A scripted OpenAI: one pure state machine, two HTTP fronts.
