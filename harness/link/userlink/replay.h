#ifndef USERLINK_REPLAY_H
#define USERLINK_REPLAY_H

int replay(void);

#endif
